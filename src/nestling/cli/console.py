"""What people see: sentences, tables, bars; and what programs read instead."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from nestling.evaluation.report import Row
from nestling.studies.watch import Step

VECTORS = (
    "Vectors (n, d): .npy, .npz, .safetensors, .parquet, .arrow, or a folder that `datasets` saved; "
    "FILE::COLUMN where there are several."
)
"""The help of an argument."""


class ConsoleWatch:
    """A `Watch` that draws on the terminal; silent in all but the first of several processes."""

    def __init__(self, *, quiet: bool = False) -> None:
        first = int(os.environ.get("RANK", "0")) == 0
        # A file gets lines as long as they are; a terminal wraps where it is narrow.
        self.console = Console(quiet=quiet or not first, soft_wrap=not sys.stdout.isatty())

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, highlight=False)

    def quote(self, text: str) -> None:
        """Lines for another program, as they are."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True, emoji=False)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table."""
        drawn = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        for i, column in enumerate(columns):
            drawn.add_column(column, justify="right" if i else "left", no_wrap=i > 0, overflow="fold")
        for row in rows:
            drawn.add_row(*row)
        self.console.print(drawn)

    def prefix_table(self, title: str, rows: Sequence[Row]) -> None:
        """Metrics down, prefixes across, in percent."""
        dims = sorted({row.dims for row in rows if row.dims is not None})
        metrics = dict.fromkeys(row.metric for row in rows)
        value = {(row.metric, row.dims): f"{100 * row.value:.2f}" for row in rows}
        lines = [[metric, *(value.get((metric, m), "") for m in dims)] for metric in metrics]
        self.table(title, ["", *map(str, dims)], lines)

    @contextmanager
    def task(self, name: str) -> Iterator[Step]:
        """A bar with what is done, what is left, and the time of both; without a terminal, lines now and then."""
        if not self.console.is_terminal:
            yield _Lines(self, name)
            return
        columns = [  # 80 characters hold all of it
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("left {task.fields[words]}"),
        ]
        with Progress(*columns, console=self.console, expand=True) as bars:
            bar = bars.add_task(name, total=None, words="")

            def step(done: int, total: int, words: str = "") -> None:
                bars.update(bar, completed=done, total=total, words=words)

            yield step
            bars.update(bar, completed=bars.tasks[0].total or 1, total=bars.tasks[0].total or 1)


class _Lines:
    """A bar for a file: a line at each tenth of a task."""

    def __init__(self, watch: ConsoleWatch, name: str) -> None:
        self.watch, self.name, self.tenths = watch, name, 0

    def __call__(self, done: int, total: int, words: str = "") -> None:
        tenths = 10 * done // max(total, 1)
        if tenths > self.tenths:
            self.tenths = tenths
            self.watch.say(f"{self.name}: {10 * tenths} % ({done:,}/{total:,}) {words}".rstrip())


def print_json(record: Row | dict[str, Any]) -> None:
    """One JSON line on standard output."""
    line = record.to_json() if isinstance(record, Row) else json.dumps(record, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
