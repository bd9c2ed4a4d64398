"""Run experiments: train what is missing, measure, show, write."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path

from nestling.data.cache import data_folder
from nestling.errors import InputError
from nestling.evaluation import Row, read_rows, save_rows
from nestling.studies.page import check_report_folder
from nestling.studies.reproduce.about import About, about_run, command_of, in_words
from nestling.studies.reproduce.differences import with_differences
from nestling.studies.reproduce.experiments import EXPERIMENTS
from nestling.studies.reproduce.images import study_images
from nestling.studies.reproduce.publish import Found, publish
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
        out: folder of ``index.html``, the same as ``results.md``, of ``NAME.jsonl`` for each experiment, and of
            ``run.json``, by which runs of other seeds are joined.
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
    about = about_run(settings, images)
    watch.say(about.images)
    systems = Systems(Zoo(runs or data_folder() / "reproduce" / images.name, images, settings, watch))
    out.mkdir(parents=True, exist_ok=True)
    systems.zoo.prepare([training for each in names for training in EXPERIMENTS[each].trainings(systems)])
    rows: dict[str, list[Row]] = {}
    for place, each in enumerate(names, start=1):
        watch.say(f"{each} ({place} of {len(names)})")
        rows[each] = with_differences(EXPERIMENTS[each].rows(systems), settings.nesting)
        save_rows(rows[each], out / f"{each}.jsonl")
    minutes = (time.monotonic() - started) / 60
    return _published(rows, about.took(minutes), out, watch)


def join(name: str, folders: Sequence[Path], out: Path, *, watch: Watch) -> dict[str, Section]:
    """Show the rows of several runs, each of other seeds, as one.

    Args:
        name: of `EXPERIMENTS`, or "all".
        folders: that `reproduce` wrote; those without the experiment are passed over.
        out: as of `reproduce`.

    Returns:
        What each experiment shows.

    Raises:
        InputError: no such experiment, none of it in any folder, or runs that are not parts of one reproduction.
        DataError: a folder cannot be read.
    """
    names = names_of(name)
    check_report_folder(out)
    about = reduce(About.joined, [About.load(folder) for folder in folders])
    rows: dict[str, list[Row]] = {}
    for each in names:
        there = [path for folder in folders if (path := folder / f"{each}.jsonl").exists()]
        if there:
            rows[each] = with_differences([row for path in there for row in read_rows(path)], about.settings.nesting)
    if not rows:
        raise InputError.of("join", f"folders with rows of {name}", ", ".join(map(str, folders)))
    out.mkdir(parents=True, exist_ok=True)
    for each, found in rows.items():
        save_rows(found, out / f"{each}.jsonl")
    return _published(rows, about, out, watch)


def _published(rows: Mapping[str, Sequence[Row]], about: About, out: Path, watch: Watch) -> dict[str, Section]:
    found = {
        each: Found(lines, EXPERIMENTS[each].section(lines, about.settings), command_of(each, about.settings))
        for each, lines in rows.items()
        if lines
    }
    publish(found, in_words(about), about.machines, out, watch)
    about.save(out)
    return {name: each.section for name, each in found.items()}
