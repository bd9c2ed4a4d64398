"""Run experiments: train what is missing, measure, show, write."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from nestling.data.cache import data_folder
from nestling.errors import InputError
from nestling.evaluation import Row, save_rows
from nestling.files import write_file
from nestling.studies.machine import machine
from nestling.studies.page import check_report_folder
from nestling.studies.reproduce.about import about_run
from nestling.studies.reproduce.experiments import EXPERIMENTS
from nestling.studies.reproduce.images import study_images
from nestling.studies.reproduce.markdown import markdown
from nestling.studies.reproduce.report import write_report
from nestling.studies.reproduce.section import Section
from nestling.studies.reproduce.settings import Settings
from nestling.studies.reproduce.systems import Systems
from nestling.studies.reproduce.zoo import Zoo
from nestling.studies.watch import Watch

ALL = "all"
_COLUMNS = 9  # that a terminal holds


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
    sections: dict[str, Section] = {}
    rows: dict[str, list[Row]] = {}
    for place, each in enumerate(names, start=1):
        watch.say(f"{each} ({place} of {len(names)})")
        rows[each] = EXPERIMENTS[each].rows(systems)
        save_rows(rows[each], out / f"{each}.jsonl")
        sections[each] = EXPERIMENTS[each].section(rows[each], systems)
        show(sections[each], watch)
    write_report(sections, rows, settings, images, out, seconds=time.monotonic() - started)
    write_file(out / "results.md", markdown(sections, settings, about_run(settings, images), machine()))
    return sections


def show(section: Section, watch: Watch) -> None:
    """Tables, those that fit a terminal, and sentences."""
    watch.say(f"\n{section.title}")
    for table in section.tables:
        if not table.wide:
            lines = [list(table.columns), *map(list, table.rows)]
            if len(lines[0]) > max(_COLUMNS, len(lines)):  # on its side it fits
                lines = [list(line) for line in zip(*lines, strict=True)]
            watch.table(table.title, lines[0], lines[1:])
    for sentence in section.found:
        watch.say(f"  {sentence}")


def known() -> Sequence[str]:
    """The names that `reproduce` takes."""
    return [*EXPERIMENTS, ALL]
