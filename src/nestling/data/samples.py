"""Samples that do not fit in memory: numbered, read when they are wanted, some of them broken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Shaped

from nestling.data.draws import ORDER, PICTURE, STAND_IN, drawn
from nestling.errors import DataError

_TRIES = 100


@runtime_checkable
class Order(Protocol):
    """The samples of one pass, in order; a slice of it is an array of rows."""

    def __getitem__(self, steps: slice, /) -> Int64[np.ndarray, " s"]: ...


class Sample(NamedTuple):
    """An input and its target."""

    input: Shaped[np.ndarray, "..."]
    target: Shaped[np.ndarray, "..."] | int


class Fault(NamedTuple):
    """A sample that cannot be read, and why."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


class Chunk(NamedTuple):
    """Samples that were read.

    Attributes:
        inputs: (s, …); targets: (s, …).
        faults: what could not be read; other samples stand in their places.
    """

    inputs: Shaped[np.ndarray, "s ..."]
    targets: Shaped[np.ndarray, "s ..."]
    faults: tuple[Fault, ...]


class Samples(ABC):
    """n samples, each read by its row; cheap to send to another process.

    Attributes:
        strict: a sample that cannot be read is an error.
    """

    strict: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """n."""

    @abstractmethod
    def fingerprint(self) -> dict[str, int]:
        """What tells these samples from others."""

    @abstractmethod
    def name(self, row: int) -> str:
        """What sample `row` is called where it lies."""

    @abstractmethod
    def one(self, row: int, epoch: int, rng: np.random.Generator | None) -> Sample | Fault:
        """Sample `row` as pass `epoch` sees it; without a generator as it is seen where nothing is drawn."""

    def order(self, seed: int, epoch: int, batch_size: int) -> Order:
        """The rows of one pass; every row once, but for those that fill no batch."""
        del batch_size
        return drawn(seed, ORDER, epoch).permutation(len(self))

    def stand_ins(self, row: int, rng: np.random.Generator) -> Int64[np.ndarray, " t"]:
        """Which rows are tried, one after the other, in the place of a broken one."""
        del row
        return rng.integers(len(self), size=_TRIES)

    def read(self, rows: Sequence[int] | Int64[np.ndarray, " s"], *, seed: int | None = None, epoch: int = 0) -> Chunk:
        """Read samples; in the place of a broken one stands another, drawn by its row.

        Args:
            seed: of what is drawn, together with the row and the epoch; None draws nothing.

        Raises:
            DataError: `strict`, and a sample cannot be read; or hundred in a row cannot.
        """
        found: list[Sample] = []
        faults: list[Fault] = []
        for row in rows:
            sample = self._drawn(int(row), seed, epoch)
            if isinstance(sample, Fault):
                faults.append(sample)
                sample = self._stand_in(int(row), seed, epoch, faults)
            found.append(sample)
        inputs = np.stack([sample.input for sample in found])
        return Chunk(inputs, np.stack([np.asarray(sample.target) for sample in found]), tuple(faults))

    def readable(self, rows: Sequence[int] | Int64[np.ndarray, " s"]) -> tuple[Int64[np.ndarray, " r"], Chunk]:
        """Which of the rows can be read, and what they hold; nothing is drawn, and nothing stands in.

        Raises:
            DataError: `strict`, and a sample cannot be read.
        """
        found = [(int(row), self._drawn(int(row), None, 0)) for row in rows]
        good = [(row, sample) for row, sample in found if isinstance(sample, Sample)]
        faults = tuple(sample for _, sample in found if isinstance(sample, Fault))
        inputs = np.stack([sample.input for _, sample in good]) if good else np.empty((0, 0))
        targets = np.stack([np.asarray(sample.target) for _, sample in good]) if good else np.empty(0)
        return np.array([row for row, _ in good], np.int64), Chunk(inputs, targets, faults)

    def _drawn(self, row: int, seed: int | None, epoch: int) -> Sample | Fault:
        found = self.one(row, epoch, None if seed is None else drawn(seed, PICTURE, epoch, row))
        if self.strict and isinstance(found, Fault):
            raise DataError(f"{found.where} cannot be read: {found.reason}. Repair or remove it.")
        return found

    def _stand_in(self, row: int, seed: int | None, epoch: int, faults: list[Fault]) -> Sample:
        for other in self.stand_ins(row, drawn(seed or 0, STAND_IN, row)):
            sample = self._drawn(int(other), seed, epoch)
            if not isinstance(sample, Fault):
                return sample
            faults.append(sample)
        raise DataError(f"{_TRIES} samples in a row cannot be read, such as {faults[0]}. Repair the data.")
