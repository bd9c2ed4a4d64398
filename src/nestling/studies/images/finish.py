"""The rotation behind a trained model that makes its short prefixes better (`nestling finish`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nestling.errors import InputError
from nestling.evaluation import Row, save_rows
from nestling.models import save
from nestling.studies.demo import report_training
from nestling.studies.images.reading import Reading
from nestling.studies.images.run import encoding, measured, model_of
from nestling.studies.images.source import open_pictures
from nestling.studies.watch import Watch
from nestling.training import finish


def finish_images(
    run: Path, images: str, out: Path, *, epochs: int, seed: int, strict: bool, watch: Watch
) -> tuple[list[Row], list[Row]]:
    """Learn the rotation on the training pictures; the finished model goes to ``out/model``.

    Returns:
        The rows of the validation pictures before and after: head, refitted probe and 1-NN at every prefix.

    Raises:
        CheckpointError: no model in the run's folder, or a damaged one.
        DataError, InputError: the pictures do not do, or the encoder cannot be rotated.
    """
    model = model_of(run)
    reading = Reading.of_run(run, model.encoder)
    found = open_pictures(images, reading, strict=strict, workers=None, watch=watch)
    if found.val is None:
        raise InputError.of("images", "split as the run split them", f"{images}, where nothing is held out")
    if found.classes != model.classes:
        raise InputError.of("images", f"of the run's {len(model.classes)} classes", f"{len(found.classes)} others")
    with watch.task("encode") as step:
        features, labels = found.train.encoded(encoding(model.encoder), step)
    with watch.task("finish") as step:
        finished = finish(model, features, labels, epochs=epochs, seed=seed, progress=partial(report_training, step))
    save(finished, out / "model")
    reading.save(out)
    before = measured(model, found, seed=seed, watch=watch)
    after = measured(finished, found, seed=seed, watch=watch, calibrated=out)
    save_rows(after, out / "rows.jsonl")
    return before, after
