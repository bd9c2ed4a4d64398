"""Pictures to vectors, by a trained model (`nestling encode`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nestling.data import View, all_pictures, is_saved, save_vectors, saved_pictures
from nestling.data.shards import is_shards, open_shards
from nestling.errors import InputError
from nestling.files import replacing
from nestling.models import Classifier
from nestling.studies.images.reading import Reading
from nestling.studies.images.run import encoding
from nestling.studies.images.source import Streamed, open_pictures, tell_faults, tell_unlisted
from nestling.studies.images.stream import Vectoriser, encode_stream, stream_vectors
from nestling.studies.parts import Joined
from nestling.studies.watch import Watch
from nestling.training.processes import this_process


def encode_to_file(
    source: Vectoriser, view: View, data: str, out: Path, *, strict: bool, workers: int | None, watch: Watch
) -> Joined | None:
    """Write the vectors of all pictures of a tree, of shards or of a saved data set, as `stream_vectors` does.

    Returns:
        None in all but the first of several processes.

    Raises:
        DataError, InputError: the pictures do not do, or as of `stream_vectors`.
    """
    if is_shards(data):
        samples = open_shards(data, view, labelled=False, strict=strict)
        tell_faults(samples.manifest.faults, watch)
    elif is_saved(data):
        samples, more = saved_pictures(data, view, val_fraction=0, labelled=False, strict=strict)
        if more is not None:
            raise InputError.of("data", "one part of what was saved", data, f"Name it, such as {data}/train.")
    else:
        samples = all_pictures(data, view, strict=strict)
        tell_unlisted(samples.unlisted, watch)
    watch.say(f"{len(samples):,} images")
    return stream_vectors(source, samples, out, classes=samples.classes, workers=workers, watch=watch)


def encode_images(
    model: Classifier, reading: Reading, images: str, out: Path, *, strict: bool, workers: int | None, watch: Watch
) -> list[Path]:
    """Write ``train.npy``, ``train-labels.npy``, and the same of ``val``, split as the run split them.

    Streamed pictures are encoded as by `encode_stream`, with ``train-ids.npy`` and ``val-ids.npy``; those that the run
    kept in memory by one process.

    Returns:
        The files written; none in all but the first of several processes.

    Raises:
        DataError, InputError: the pictures do not do.
    """
    found = open_pictures(images, reading, strict=strict, workers=workers, watch=watch)
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
