"""The one form of all benchmarks: a header with the machine, rows, a table for people or JSON lines."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from nestling.studies.machine import commit, processor


class Row(NamedTuple):
    """One measured figure; `system` is ``nestling…`` for ours and the peer's name for a peer."""

    bench: str
    case: str
    system: str
    metric: str
    value: float
    unit: str


def arguments(description: str) -> argparse.Namespace:
    """``--quick`` and ``--json``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="every row at a smaller size, within three minutes")
    parser.add_argument("--json", action="store_true", help="JSON lines: the machine, then one object per figure")
    return parser.parse_args()


def header(**more: Any) -> dict[str, Any]:
    """The machine, cores, commit and versions of this run."""
    return {
        "machine": processor(),
        "cores": os.cpu_count(),
        "commit": commit(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("nestling", "torch", "numpy")},
        **more,
    }


def report(rows: Iterable[Row], *, as_json: bool, **more: Any) -> None:
    """Print the rows as they come as JSON lines, or all of them as one table with ratios to the peer."""
    head = header(**more)
    if as_json:
        print(json.dumps(head), flush=True)
        for row in rows:
            print(json.dumps(row._asdict()), flush=True)
        return
    console = Console()
    console.print(" · ".join(f"{k} {v}" for k, v in head.items()))
    table = Table("case", "system", "metric", "value", "unit")
    for row in rows:
        table.add_row(
            row.case,
            row.system,
            row.metric,
            f"{row.value:,.3g}" if row.value < 100 else f"{row.value:,.0f}",
            row.unit,
        )
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    console.print(table)


def interleaved(runs: dict[str, Callable[[], object]], *, repeats: int, warmup: int = 1) -> dict[str, list[float]]:
    """Seconds of each run, taken in turn (A B A B …), so that a drifting machine drifts for all."""
    for _ in range(warmup):
        for run in runs.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def median_ms(seconds: list[float]) -> float:
    """Median in milliseconds."""
    return 1000 * statistics.median(seconds)
