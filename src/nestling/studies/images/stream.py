"""Any amount of pictures to one file of vectors, in constant memory, by one process or several, resumed when cut off.

The samples are cut into chunks; each is encoded into files of its own, written whole or not at all, and those that are
there are not made again. At the end the first process joins them.
"""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from nestling.data import Samples
from nestling.models import Classifier
from nestling.models.store import identity
from nestling.studies.images.run import encoding
from nestling.studies.images.source import tell_faults
from nestling.studies.parts import Joined, Parts
from nestling.studies.watch import Watch
from nestling.training import batched, in_order
from nestling.training.processes import this_process

_BATCH = 256
CHUNK = 8192
"""Samples of a chunk: what is lost by a kill, and what a process holds in memory."""


def encode_stream(
    model: Classifier,
    samples: Samples,
    out: Path,
    *,
    classes: tuple[str, ...],
    workers: int | None,
    watch: Watch,
    chunk: int = CHUNK,
) -> Joined | None:
    """Write the vectors of all samples that can be read, in their order.

    Args:
        out: ``x.parquet`` or ``x.arrow`` with the columns id, label and vector; or ``x.npy`` with ``x-ids.npy`` and
            ``x-labels.npy``.
        classes: the names of the samples' classes.
        workers: reading processes of each process.
        chunk: samples that are encoded and kept together.

    Returns:
        None in all but the first of several processes.

    Raises:
        InputError: another ending, or what an earlier, other run left is in the way.
        DataError: the samples are strict and one cannot be read, or the files cannot be written.
    """
    source = Vectoriser(model, model.head.nesting.width, identity(model))
    return stream_vectors(source, samples, out, classes=classes, workers=workers, watch=watch, chunk=chunk)


class Vectoriser(NamedTuple):
    """What makes vectors of pictures.

    Attributes:
        network: a whole model, or an encoder alone.
        width: of what it gives; identity: what tells it from others.
    """

    network: nn.Module
    width: int
    identity: str


def stream_vectors(
    source: Vectoriser,
    samples: Samples,
    out: Path,
    *,
    classes: tuple[str, ...],
    workers: int | None,
    watch: Watch,
    chunk: int = CHUNK,
) -> Joined | None:
    """As `encode_stream`, of any network."""
    parts, starts = Parts(out, chunk, ("ids", "labels")), range(0, len(samples), chunk)
    about = {"model": source.identity, "samples": samples.fingerprint(), "chunk": chunk}
    mine = parts.begin(about, len(starts))
    encode = encoding(source.network.to(this_process().device))
    batches = [batched(np.arange(starts[i], min(starts[i] + chunk, len(samples))), _BATCH) for i in mine]
    total, seen = sum(len(rows) for each in batches for rows in each), 0
    # One stream for all chunks: readers that start cost seconds, and keep what they know of the shards they opened.
    passages = in_order(samples, [rows for each in batches for rows in each], workers=workers)
    begun = time.monotonic()
    with watch.task("encode") as step:
        for i, each in zip(mine, batches, strict=True):
            vectors, names, labels, faults = list[np.ndarray](), list[str](), list[int](), list[str]()
            for passage in islice(passages, len(each)):
                faults += passage.faults
                names += passage.names
                labels += passage.targets.tolist()
                if len(passage.rows):
                    vectors.append(encode(passage.inputs).numpy())
                seen += len(passage.rows) + len(passage.faults)
                step(seen, total, f"{seen / max(time.monotonic() - begun, 1e-9):,.0f} images/s")
            whole = np.concatenate(vectors) if vectors else np.empty((0, source.width), np.float32)
            parts.write(i, whole, {"ids": names, "labels": [classes[label] for label in labels], "faults": faults})
    found = parts.finished(len(starts), watch)
    tell_faults(() if found is None else found.faults, watch)
    return found
