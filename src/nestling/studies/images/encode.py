"""Pictures to vectors, by a trained model (`nestling encode`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nestling.data import all_pictures, is_saved, save_vectors, saved_pictures
from nestling.data.shards import is_shards, open_shards
from nestling.errors import InputError
from nestling.studies.images.reading import Reading
from nestling.studies.images.run import encoding, model_of
from nestling.studies.images.source import open_pictures
from nestling.studies.images.stream import SUFFIXES, encode_stream
from nestling.studies.watch import Watch


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

    Returns:
        The files written.

    Raises:
        CheckpointError: no model in the run's folder, or a damaged one.
        DataError, InputError: the pictures do not do.
    """
    model = model_of(run)
    found = open_pictures(images, Reading.of_run(run, model.encoder), strict=strict, workers=workers, watch=watch)
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, part in (("train", found.train), ("val", found.val)):
        if part is None:
            continue
        with watch.task(f"encode {name}") as step:
            vectors, labels = part.encoded(encoding(model), step)
        for suffix, array in (("", vectors), ("-labels", np.array(found.classes)[labels])):
            path = out / f"{name}{suffix}.npy"
            save_vectors(path, array) if array.ndim == 2 else np.save(path, array, allow_pickle=False)
            written.append(path)
    return written
