"""Graphs take minutes to build: they are kept on disk with the seconds that building took."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.searching.data.store import folder
from nestling.files import write_file


class Saved(NamedTuple):
    """A saved index and what building it took."""

    file: Path
    build_s: float


class Clock:
    """Seconds that building would take on idle cores: what it took, or its processor time shared by its threads where
    that is less, because others were using the machine. Either way in the peer's favour."""

    def __init__(self, threads: int) -> None:
        self._threads, self._wall, self._cpu = threads, time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        """Since the clock was made."""
        return min(time.perf_counter() - self._wall, (time.process_time() - self._cpu) / self._threads)


def place(peer: str, case: str, shape: str) -> Path:
    """Where an index is kept; the folder is made."""
    words = "".join(letter if letter.isalnum() else "-" for letter in f"{peer}-{case}-{shape}")
    path = folder() / "indexes" / words
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def found(path: Path) -> Saved | None:
    """The saved index, if it was saved whole."""
    about = path.with_name(path.name + ".json")
    return Saved(path, json.loads(about.read_text())["build_s"]) if about.exists() and path.exists() else None


def finish(path: Path, build_s: float, threads: int) -> Saved:
    """Say that the index at `path` is whole."""
    write_file(path.with_name(path.name + ".json"), json.dumps({"build_s": build_s, "threads": threads}) + "\n")
    return Saved(path, build_s)
