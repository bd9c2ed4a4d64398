"""Show, write and explain what studies found: rows, tables, the page and the same as text."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nestling.evaluation import Row, save_rows
from nestling.files import write_file
from nestling.studies.reproduce.about import where
from nestling.studies.reproduce.markdown import markdown
from nestling.studies.reproduce.report import write_report
from nestling.studies.reproduce.section import Section
from nestling.studies.watch import Watch

_COLUMNS = 9  # that a terminal holds


@dataclass(frozen=True, slots=True)
class Found:
    """What one name of `nestling reproduce` leaves.

    Attributes:
        rows: every number; section: what is shown of them.
        command: what to type for them.
    """

    rows: Sequence[Row]
    section: Section
    command: str


def publish(found: Mapping[str, Found], about: str, machines: Sequence[str], out: Path, watch: Watch) -> None:
    """Tables on the terminal; ``index.html`` and the same as ``results.md``.

    Args:
        found: name → what it left; its rows are in ``NAME.jsonl`` already.
        about: what the numbers are of, and how to read them.
        machines: what ran where, a line each.
    """
    sections = {name: each.section for name, each in found.items()}
    for section in sections.values():
        show(section, watch)
    commands = {name: each.command for name, each in found.items()}
    write_report(sections, {name: each.rows for name, each in found.items()}, commands, about, machines, out)
    write_file(out / "results.md", markdown(sections, commands, about, machines))


def publish_alone(
    name: str, found: Found, about: str, seeds: Sequence[int], began: float, out: Path, watch: Watch
) -> Mapping[str, Section]:
    """The report of a study that is one table: its rows as ``NAME.jsonl`` too.

    Args:
        found, about, out: as of `publish`; seeds, began: what ran, and since when by `time.monotonic`.
    """
    out.mkdir(parents=True, exist_ok=True)
    save_rows(found.rows, out / f"{name}.jsonl")
    publish({name: found}, about, [where(seeds, (time.monotonic() - began) / 60)], out, watch)
    return {name: found.section}


def show(section: Section, watch: Watch) -> None:
    """Tables, those that fit a terminal, and sentences."""
    watch.say(f"\n{section.title}")
    for table in section.tables:
        if table.rows and not table.wide:
            lines = [list(table.columns), *map(list, table.rows)]
            if len(lines[0]) > max(_COLUMNS, len(lines)):  # on its side it fits
                lines = [list(line) for line in zip(*lines, strict=True)]
            watch.table(table.title, lines[0], lines[1:])
    for sentence in section.found:
        watch.say(f"  {sentence}")
