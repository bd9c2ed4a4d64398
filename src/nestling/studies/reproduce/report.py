"""The page of a reproduction: each table of the paper with ours beside it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from nestling.evaluation import Row
from nestling.files import write_file
from nestling.studies.page import html_page
from nestling.studies.reproduce.section import JUDGED, Cell, Section, Table

_MANY = 9  # columns of a table, from which on its letters are small


def write_report(
    sections: Mapping[str, Section],
    rows: Mapping[str, Sequence[Row]],
    commands: Mapping[str, str],
    about: str,
    machines: Sequence[str],
    out: Path,
) -> None:
    """Write ``index.html``, self-contained: every number of a table leads to its rows at the end of the section."""
    links = [f"<a href=#{name}>{html.escape(section.title)}</a>" for name, section in sections.items()]
    head = f"<section><p>{html.escape(about)}</p><nav>{' · '.join(links)}</nav></section>"
    body = "\n".join(_section(name, section, rows[name], commands[name]) for name, section in sections.items())
    where = "<br>".join(html.escape(each) for each in machines)
    footer = (
        f"<footer>{where}<br>(minutes without what was trained before)<br>Kusupati et al., <i>Matryoshka "
        "Representation Learning</i>, NeurIPS 2022.</footer>"
    )
    write_file(out / "index.html", html_page("Matryoshka representation learning, reproduced", head + body + footer))


def _section(name: str, section: Section, rows: Sequence[Row], command: str) -> str:
    sentences = "".join(f"<li>{html.escape(text)}</li>" for text in section.found)
    return (
        f"<section id={name}><h2>{html.escape(section.title)}</h2>"
        f"<p><b>The paper:</b> {html.escape(section.claim)}</p>"
        + "".join(section.pictures)
        + (f"<p><b>Found here:</b></p><ul>{sentences}</ul>" if sentences else "")
        + (f"<p><b>{JUDGED}:</b> {html.escape(section.judged)}</p>" if section.judged else "")
        + "".join(_table(name, table) for table in section.tables if table.rows)
        + f"<p class=note>By <code>{html.escape(command)}</code>, which writes all rows to "
        + f"<a href={name}.jsonl>{name}.jsonl</a></p>"
        + _rows(name, section, rows)
        + "</section>"
    )


def _table(name: str, table: Table) -> str:
    head = "".join(f"<th>{html.escape(c)}</th>" for c in table.columns)
    body = "".join(
        f"<tr class={_class(row[0])}>" + "".join(f"<td>{_linked(name, cell)}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    kind = " class=many" if len(table.columns) > _MANY else ""
    return (
        f"<h3>{html.escape(table.title)}</h3>"
        f"<div class=scroll><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _linked(name: str, cell: str) -> str:
    text = html.escape(cell).replace(" [", "<br>[")  # an interval stands below its number: tables get half as wide
    if not cell or not isinstance(cell, Cell) or not cell.of:
        return text
    lines = ", ".join(str(i + 1) for i in cell.of)
    return f'<a href="#{name}-{cell.of[0] + 1}" title="line {lines} of {name}.jsonl">{text}</a>'


def _rows(name: str, section: Section, rows: Sequence[Row]) -> str:
    """The rows that the tables are made of, folded away; a link into them unfolds them."""
    cells = (cell for table in section.tables for line in table.rows for cell in line if isinstance(cell, Cell))
    shown = sorted({i for cell in cells for i in cell.of})
    lines = "".join(f"<li id={name}-{i + 1} value={i + 1}>{html.escape(rows[i].to_json())}</li>" for i in shown)
    return f"<details><summary>The rows behind these tables</summary><ol class=rows>{lines}</ol></details>"


def _class(name: str) -> str:
    return "paper" if name.startswith("paper") else "ours" if name == "MRL" else "other"
