"""Run experiments: train what is missing, measure, show, write."""

from __future__ import annotations

import time
from pathlib import Path

from nestling.data.cache import data_folder
from nestling.errors import InputError
from nestling.evaluation import save_rows
from nestling.studies.page import check_report_folder
from nestling.studies.reproduce.about import about_run, command_of
from nestling.studies.reproduce.experiments import EXPERIMENTS
from nestling.studies.reproduce.images import study_images
from nestling.studies.reproduce.publish import Found, publish, show
from nestling.studies.reproduce.section import Section
from nestling.studies.reproduce.settings import Settings
from nestling.studies.reproduce.systems import Systems
from nestling.studies.reproduce.zoo import Zoo
from nestling.studies.watch import Watch

ALL = "all"


def names_of(name: str) -> list[str]:
    """The experiments of a name.

    Raises:
        InputError: there is none of that name.
    """
    if name != ALL and name not in EXPERIMENTS:
        raise InputError.of("name", f"one of {', '.join(EXPERIMENTS)} or {ALL}", repr(name))
    return list(EXPERIMENTS) if name == ALL else [name]


def reproduce(
    name: str, settings: Settings, out: Path, *, runs: Path | None = None, watch: Watch
) -> dict[str, Section]:
    """Run an experiment, or all.

    Args:
        name: of `EXPERIMENTS`, or "all".
        out: folder of ``index.html``, the same as ``results.md``, and of ``NAME.jsonl`` for each experiment.
        runs: folder of the trained models; a folder of the cache when left out.

    Returns:
        What each experiment shows.

    Raises:
        InputError: no such experiment, or data that do not do.
        DataError: the data cannot be had.
        CheckpointError: a cached model is of another version, or damaged.
    """
    names = names_of(name)
    check_report_folder(out)
    started = time.monotonic()
    images = study_images(settings, watch)
    watch.say(
        f"{images.name}: {len(images.train):,} training, {len(images.val):,} validation, {len(images.test):,} test "
        f"images, {len(images.classes)} classes"
    )
    folder = runs or data_folder() / "reproduce" / images.name
    systems = Systems(Zoo(folder, images, settings, watch))
    out.mkdir(parents=True, exist_ok=True)
    systems.zoo.prepare([training for each in names for training in EXPERIMENTS[each].trainings(systems)])
    found: dict[str, Found] = {}
    for place, each in enumerate(names, start=1):
        watch.say(f"{each} ({place} of {len(names)})")
        rows = EXPERIMENTS[each].rows(systems)
        save_rows(rows, out / f"{each}.jsonl")
        found[each] = Found(rows, EXPERIMENTS[each].section(rows, systems), command_of(each, settings))
        show(found[each].section, watch)
    publish(found, about_run(settings, images), out, seconds=time.monotonic() - started)
    return {name: each.section for name, each in found.items()}
