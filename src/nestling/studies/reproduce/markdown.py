"""The same tables and sentences as text, to be kept beside the code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nestling.studies.reproduce.section import JUDGED, Section, Table


def markdown(sections: Mapping[str, Section], commands: Mapping[str, str], about: str, machines: Sequence[str]) -> str:
    """Headings, claims, sentences and tables.

    Args:
        commands: name → what to type; about: the data, in words; machines: what ran where.
    """
    head = ["# The paper's tables, reproduced", about, "\n".join(f"- {each}" for each in machines)]
    parts = [_section(section, commands[name]) for name, section in sections.items()]
    return "\n\n".join([*head, *parts]) + "\n"


def _section(section: Section, command: str) -> str:
    return "\n\n".join(
        [
            f"## {section.title}",
            f"The paper: {section.claim} `{command}`",
            "\n".join(f"- {sentence}" for sentence in section.found),
            *([f"{JUDGED}: {section.judged}"] if section.judged else []),
            *(_table(table) for table in section.tables if table.rows),
        ]
    )


def _table(table: Table) -> str:
    lines = [_line([table.title, *table.columns[1:]]), _line(["---"] * len(table.columns))]
    return "\n".join(lines + [_line(row) for row in table.rows])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
