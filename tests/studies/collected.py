"""A watch that remembers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nestling.studies.watch import Step


class Collected:
    """What a study said, drew and did, in lists."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.tables: list[str] = []
        self.steps: dict[str, list[tuple[int, int]]] = {}

    def say(self, text: str) -> None:
        self.said.append(text)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.tables.append(title)

    @contextmanager
    def task(self, name: str) -> Iterator[Step]:
        taken = self.steps.setdefault(name, [])

        def step(done: int, total: int, words: str = "") -> None:
            taken.append((done, total))

        yield step
