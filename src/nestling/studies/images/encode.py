"""Pictures to vectors, by a trained model (`nestling encode`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nestling.data import all_pictures, is_saved, save_vectors, saved_pictures
from nestling.data.shards import is_shards, open_shards
from nestling.errors import InputError
from nestling.files import replacing
from nestling.studies.images.reading import Reading
from nestling.studies.images.run import encoding, model_of
from nestling.studies.images.source import Streamed, open_pictures
from nestling.studies.images.stream import encode_stream
from nestling.studies.parts import SUFFIXES
from nestling.studies.watch import Watch
from nestling.training.processes import this_process


def is_vector_file(out: Path) -> bool:
    """A file that `encode_to_file` writes, by its ending."""
    return out.suffix in SUFFIXES


def encode_to_file(
    run: Path, data: str, out: Path, *, strict: bool, workers: int | None, watch: Watch
) -> tuple[Path, ...]:
    """Write the vectors of all pictures of a tree, of shards or of a saved data set, as `encode_stream` does.

    Returns:
        The files written; none in all but the first of several processes.

    Raises:
        CheckpointError: no model in the run's folder, or a damaged one.
        DataError, InputError: the pictures do not do, or as of `encode_stream`.
    """
    model = model_of(run)
    view = Reading.of_run(run, model.encoder).view()
    if is_shards(data):
        samples = open_shards(data, view, strict=strict)
    elif is_saved(data):
        samples, more = saved_pictures(data, view, val_fraction=0, strict=strict)
        if more is not None:
            raise InputError.of("data", "one part of what was saved", data, f"Name it, such as {data}/train.")
    else:
        samples = all_pictures(data, view, strict=strict)
    watch.say(f"{len(samples):,} images")
    found = encode_stream(model, samples, out, classes=samples.classes, workers=workers, watch=watch)
    return () if found is None else found.files


def encode_images(run: Path, images: str, out: Path, *, strict: bool, workers: int | None, watch: Watch) -> list[Path]:
    """Write ``train.npy``, ``train-labels.npy``, and the same of ``val``, split as the run split them.

    Streamed pictures are encoded as by `encode_stream`, with ``train-ids.npy`` and ``val-ids.npy``; those that the run
    kept in memory by one process.

    Returns:
        The files written; none in all but the first of several processes.

    Raises:
        CheckpointError: no model in the run's folder, or a damaged one.
        DataError, InputError: the pictures do not do.
    """
    model = model_of(run)
    found = open_pictures(images, Reading.of_run(run, model.encoder), strict=strict, workers=workers, watch=watch)
    main = this_process().is_main_process
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, part in (("train", found.train), ("val", found.val)):
        path = out / f"{name}.npy"
        if isinstance(part, Streamed):
            made = encode_stream(model, part.samples, path, classes=found.classes, workers=workers, watch=watch)
            written += [] if made is None else made.files
        elif part is not None and main:
            with watch.task(f"encode {name}") as step:
                vectors, labels = part.encoded(encoding(model), step)
            beside = out / f"{name}-labels.npy"
            save_vectors(path, vectors)
            with replacing(beside) as temporary, temporary.open("wb") as stream:
                np.save(stream, np.array(found.classes)[labels], allow_pickle=False)
            written += [path, beside]
    return written
