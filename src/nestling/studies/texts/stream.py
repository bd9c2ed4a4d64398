"""Any amount of texts to one file of vectors, in constant memory, by one process or several, resumed when cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from nestling.data.texts import TextFiles
from nestling.errors import DataError
from nestling.studies.parts import Joined, Parts
from nestling.studies.watch import Watch

CHUNK = 4096
"""Texts of a chunk: what is lost by a kill, and what a process holds in memory."""


class TextVectoriser(NamedTuple):
    """What makes vectors of texts.

    Attributes:
        encode: texts → (n, d); identity: what tells it from others.
    """

    encode: Callable[[Sequence[str]], Float32[np.ndarray, "n d"]]
    identity: str


def encode_texts(
    source: TextVectoriser, texts: TextFiles, out: Path, *, watch: Watch, chunk: int = CHUNK
) -> Joined | None:
    """Write the vectors of all texts in their order, with their numbers as ids.

    Args:
        out: ``x.parquet`` or ``x.arrow`` with the columns id and vector, or ``x.npy`` with ``x-ids.npy``.

    Returns:
        None in all but the first of several processes.

    Raises:
        InputError: another ending of `out`, or as of `TextFiles`.
        DataError: there is no text, or a file cannot be read.
    """
    parts = Parts(out, chunk, ("ids",))
    with watch.task("count texts"):
        count = sum(1 for _ in texts)
    if not count:
        raise DataError(f"{texts.files[0]} holds no text. Write one text a line.")
    starts, lines = range(0, count, chunk), iter(texts)
    mine = set(parts.begin({"model": source.identity, "texts": texts.fingerprint(), "chunk": chunk}, len(starts)))
    with watch.task("encode") as step:
        for i, start in enumerate(starts):
            block = list(islice(lines, chunk))
            if i in mine:
                ids = [str(row) for row in range(start, start + len(block))]
                parts.write(i, source.encode(block), {"ids": ids, "faults": []})
            step(start + len(block), count, "texts")
    return parts.finished(len(starts), watch)
