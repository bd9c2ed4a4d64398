"""How a study tells what it is doing, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable


@runtime_checkable
class Watch(Protocol):
    """A listener: the command line draws bars and tables, a test collects or ignores."""

    def say(self, text: str) -> None:
        """One sentence."""
        ...

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A finished table."""
        ...

    @contextmanager
    def task(self, name: str) -> Iterator[Step]:
        """Something that takes long: a bar for as long as the block runs."""
        ...


@runtime_checkable
class Step(Protocol):
    """Called as the task goes on: how much of how much is done, and a few words beside it."""

    def __call__(self, done: int, total: int, words: str = "") -> None: ...


class Silent:
    """Nobody listens."""

    def say(self, text: str) -> None:
        """Say nothing."""
        del text

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Draw nothing."""
        del title, columns, rows

    @contextmanager
    def task(self, name: str) -> Iterator[Step]:
        """Draw nothing."""
        del name
        yield _nothing


def _nothing(done: int, total: int, words: str = "") -> None:
    del done, total, words
