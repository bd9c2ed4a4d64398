"""Encode, learn adaptors, measure them on what was not learnt from, and publish the tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from nestling.data.cache import data_folder
from nestling.errors import InputError
from nestling.evaluation import Row
from nestling.studies.page import check_report_folder
from nestling.studies.reproduce.asked import Asked
from nestling.studies.reproduce.publish import Found, publish_alone
from nestling.studies.reproduce.section import Section
from nestling.studies.text_retrieval.judged import judged
from nestling.studies.text_retrieval.settings import Settings, get_settings
from nestling.studies.text_retrieval.table import rows_of, section
from nestling.studies.text_retrieval.tasks import Task, task_of
from nestling.studies.watch import Watch

NAME = "text-retrieval"


def reproduce(asked: Asked, *, watch: Watch) -> Mapping[str, Section]:
    """Compute what is missing, measure, write.

    Raises:
        InputError: no such scale, or data of one's own.
        DataError: the texts cannot be had.
        MissingExtraError: a model's package is not installed.
        CheckpointError: what is kept is damaged.
    """
    if asked.data is not None:
        raise InputError.of(
            "--data", f"left out of {NAME}", repr(asked.data), "`nestling adapt` measures vectors of your own."
        )
    return run(get_settings(asked.scale, seeds=3 if asked.seeds is None else asked.seeds), asked, watch=watch)


def run(settings: Settings, asked: Asked, *, watch: Watch) -> Mapping[str, Section]:
    """The same with settings of one's own; errors as of `reproduce`."""
    check_report_folder(asked.out)
    started = time.monotonic()
    folder = asked.runs or data_folder() / "reproduce" / NAME
    tasks, rows = list[Task](), list[Row]()
    for data, model in settings.tasks:
        task = task_of(data, model, settings, folder, watch)
        watch.say(f"{task.name}: {task.about}")
        rows += rows_of(task, judged(task, settings, folder, watch))
        tasks.append(task)
    found = Found(rows, section(rows, tasks), settings.command)
    return publish_alone(NAME, found, _about(tasks, settings), settings.seeds, started, asked.out, watch)


def _about(tasks: Sequence[Task], settings: Settings) -> str:
    told = "; ".join(f"{task.name}: {task.about}" for task in tasks)
    return (
        f"{told}. Tables are of the {settings.part} part; texts are cut to {settings.length} tokens, prefixes "
        "renormalised; ± is half the range of the seeds. Packages are parted by their source, and those that a model "
        "reads alike are asked for once. “Random rotation” is an orthogonal matrix; PCA is uncentred unless said."
    )
