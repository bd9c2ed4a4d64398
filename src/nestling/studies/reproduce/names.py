"""What `nestling reproduce` can be asked: the tables of pictures, which share models, and studies of other data.

A study of other data has a folder of its own, one line in `OTHERS`, and publishes what it finds like the tables.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Protocol, cast

from nestling.errors import InputError
from nestling.studies.reproduce.asked import Asked
from nestling.studies.reproduce.experiments import EXPERIMENTS
from nestling.studies.reproduce.run import ALL, join
from nestling.studies.reproduce.run import reproduce as reproduce_tables
from nestling.studies.reproduce.section import Section
from nestling.studies.reproduce.settings import get_settings
from nestling.studies.watch import Watch


class Study(Protocol):
    """A study of other data; each is a module."""

    def reproduce(self, asked: Asked, *, watch: Watch) -> Mapping[str, Section]:
        """Train what is missing, measure, write rows and page; what is shown, by name."""
        ...


OTHERS: Mapping[str, str] = {
    "align-icons": "nestling.studies.align_icons.study",
    "masked-words": "nestling.studies.masked_words.study",
    "text-retrieval": "nestling.studies.text_retrieval.study",
}
"""Name → module, loaded when it is asked for."""


def known() -> list[str]:
    """The names that there are; "all" stands for the tables of pictures."""
    return [*EXPERIMENTS, *OTHERS, ALL]


def reproduce(name: str, asked: Asked, *, watch: Watch) -> Mapping[str, Section]:
    """Run what has this name.

    Raises:
        InputError: there is no such name, or settings that do not do.
        NestlingError: as of the study.
    """
    if name not in known():
        raise InputError.of("name", f"one of {', '.join(known()[:-1])} or {ALL}", repr(name))
    if name in OTHERS:
        if asked.join or asked.only is not None:
            raise InputError.of("--join and --only-seed", f"for the tables of pictures ({ALL})", f"them for {name}")
        return cast(Study, importlib.import_module(OTHERS[name])).reproduce(asked, watch=watch)
    if asked.join:
        return join(name, asked.join, asked.out, watch=watch)
    seeds = 3 if asked.seeds is None else asked.seeds
    settings = get_settings(asked.scale, data=asked.data or "icons-600", seeds=seeds, only=asked.only)
    return reproduce_tables(name, settings, asked.out, runs=asked.runs, watch=watch)
