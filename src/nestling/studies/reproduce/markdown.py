"""The same tables and sentences as text, to be kept beside the code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nestling.studies.reproduce.about import About, command_of, in_words
from nestling.studies.reproduce.section import Section, Table
from nestling.studies.reproduce.settings import Settings


def markdown(sections: Mapping[str, Section], about: About) -> str:
    """Headings, claims, sentences and tables."""
    head = ["# The paper's tables, reproduced", in_words(about), "\n".join(f"- {each}" for each in about.machines)]
    parts = [_section(name, section, about.settings) for name, section in sections.items()]
    return "\n\n".join([*head, *parts]) + "\n"


def _section(name: str, section: Section, settings: Settings) -> str:
    return "\n\n".join(
        [
            f"## {section.title}",
            f"The paper: {section.claim} `{command_of(name, settings)}`",
            "\n".join(f"- {sentence}" for sentence in section.found),
            *(_table(table) for table in section.tables),
        ]
    )


def _table(table: Table) -> str:
    lines = [_line([table.title, *table.columns[1:]]), _line(["---"] * len(table.columns))]
    return "\n".join(lines + [_line(row) for row in table.rows])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
