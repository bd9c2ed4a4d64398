"""The page of a reproduction: each table of the paper with ours beside it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

from nestling.files import write_file
from nestling.studies.machine import machine
from nestling.studies.page import html_page
from nestling.studies.reproduce.images import StudyImages
from nestling.studies.reproduce.section import Section, Table
from nestling.studies.reproduce.settings import Settings


def write_report(
    sections: Mapping[str, Section], settings: Settings, images: StudyImages, out: Path, *, seconds: float
) -> None:
    """Write ``index.html``, self-contained."""
    about = " · ".join(f"{name} {value}" for name, value in machine().items())
    links = [f"<a href=#{name}>{html.escape(section.title)}</a>" for name, section in sections.items()]
    head = (
        f"<section><p>{images.name}: {len(images.train):,} training, {len(images.val):,} validation and "
        f"{len(images.test):,} test images of {len(images.classes)} classes. Seeds {_list(settings.seeds)}"
        f" ({_list(settings.few_dims_seeds)} at 16 dims and below); ± is half the range of the seeds. Everything was "
        "chosen on validation. Rows that begin with “paper” are the paper's figures for ResNet-50 on ImageNet-1K; "
        "those that end in “?” were not checked against its text. MRL, MRL-E and FF are finished (a rotation behind "
        "the encoder, heads refitted on frozen features); “raw” are the same models before.</p>"
        f"<nav>{' · '.join(links)}</nav></section>"
    )
    body = "\n".join(_section(name, section, settings) for name, section in sections.items())
    footer = (
        f"<footer>{seconds / 60:.1f} minutes with what was trained before. {html.escape(about)}.<br>Kusupati et al., "
        "<i>Matryoshka Representation Learning</i>, NeurIPS 2022.</footer>"
    )
    write_file(out / "index.html", html_page("Matryoshka representation learning, reproduced", head + body + footer))


def _section(name: str, section: Section, settings: Settings) -> str:
    command = f"nestling reproduce {name}" + ("" if settings.data == "icons-600" else f" --data {settings.data}")
    sentences = "".join(f"<li>{html.escape(text)}</li>" for text in section.found)
    return (
        f"<section id={name}><h2>{html.escape(section.title)}</h2>"
        f"<p><b>The paper:</b> {html.escape(section.claim)}</p>"
        + "".join(section.pictures)
        + (f"<p><b>Found here:</b></p><ul>{sentences}</ul>" if sentences else "")
        + "".join(_table(table) for table in section.tables)
        + f"<p class=note>Rows: <a href={name}.jsonl>{name}.jsonl</a>, by <code>{html.escape(command)}</code></p>"
        + "</section>"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(c)}</th>" for c in table.columns)
    body = "".join(
        f"<tr class={_class(row[0])}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    return (
        f"<h3>{html.escape(table.title)}</h3>"
        f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _class(name: str) -> str:
    return "paper" if name.startswith("paper") else "ours" if name == "MRL" else "other"


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
