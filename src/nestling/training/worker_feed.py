"""Samples that are read and decoded by processes beside the training."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nestling.data.samples import Order, Samples
from nestling.errors import DataError
from nestling.training.batches import Batches
from nestling.training.feed import Feed, Share

Part = tuple[Tensor, Tensor, tuple[str, ...]]
_AHEAD = 4  # batches that wait, decoded


class WorkerFeed(Feed):
    """Reads ahead of the training. What a batch holds does not depend on the number of readers.

    Args:
        samples: what to read; the configuration's `augment` says whether they are seen as their view draws.
        workers: reading processes of each training process; one per core left over by default, 0 reads in between.
    """

    def __init__(self, samples: Samples, *, workers: int | None = None) -> None:
        spare = (os.cpu_count() or 2) // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        self.samples, self.workers = samples, max(1, spare - 1) if workers is None else workers
        self._faults: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def fingerprint(self) -> dict[str, int]:
        """The samples'."""
        return self.samples.fingerprint()

    def faults(self) -> tuple[str, ...]:
        """What could not be read so far."""
        return tuple(self._faults)

    def shares(self, batches: Batches, start: int) -> Generator[Share]:
        """Every reader reads one part of each share, always the same one: shards stay with one reader."""
        parts = max(1, min(self.workers, batches.share))
        readers = 0 if self.workers == 0 else parts
        steps = _Steps(start, batches.total, parts)
        chunks: Iterator[Part | str] = iter(_loader(_Parts(self.samples, batches, parts), readers, steps))
        for _ in range(start, batches.total):
            found = [_good(next(chunks)) for _ in range(parts)]
            self._faults.update(dict.fromkeys(text for *_, faults in found for text in faults))
            yield torch.cat([inputs for inputs, *_ in found]), torch.cat([targets for _, targets, _ in found])


class Passage(NamedTuple):
    """Samples in their order, without those that cannot be read.

    Attributes:
        rows: (s,) which they are; names: what they are called; inputs: (s, …); targets: (s, …).
        faults: what was left out, with reasons.
    """

    rows: Tensor
    names: tuple[str, ...]
    inputs: Tensor
    targets: Tensor
    faults: tuple[str, ...]


Rows = Sequence[int] | Int64[np.ndarray, " r"]


def batched(rows: Rows, size: int) -> list[Int64[np.ndarray, " _"]]:
    """Cut into batches, the last of which may be short."""
    return [np.asarray(rows[i : i + size]) for i in range(0, len(rows), size)]


def in_order(
    samples: Samples, batches: Sequence[Int64[np.ndarray, " _"]], *, workers: int | None = None
) -> Generator[Passage]:
    """Read these rows once, ahead of who uses them, in constant memory; a passage for each batch.

    Raises:
        DataError: the samples are strict, and one cannot be read.
    """
    count = WorkerFeed(samples, workers=workers).workers
    for found in cast("Iterator[Passage | str]", iter(_loader(_Rows(samples, batches), count))):
        if isinstance(found, str):
            raise DataError(found)
        yield found


@dataclass
class _Rows(Dataset["Passage | str"]):
    samples: Samples
    batches: Sequence[Int64[np.ndarray, " _"]]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, place: int) -> Passage | str:
        try:
            rows, chunk = self.samples.readable(self.batches[place])
        except DataError as error:
            return str(error)
        numbers, inputs, targets = (torch.from_numpy(each) for each in (rows, chunk.inputs, chunk.targets))
        names = tuple(self.samples.name(int(row)) for row in rows)
        return Passage(numbers, names, inputs, targets, tuple(str(fault) for fault in chunk.faults))


def _loader(dataset: Dataset[Any], workers: int, sampler: Sampler[Any] | None = None) -> DataLoader[Any]:
    return DataLoader(
        dataset,
        sampler=sampler,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=None if workers == 0 else _AHEAD,
        worker_init_fn=_end_with_parent,
        # Forking a process that has computed with OpenMP can hang it.
        multiprocessing_context=None if workers == 0 else multiprocessing.get_context("forkserver"),
    )


def _end_with_parent(_: int) -> None:
    """In a reader: end when the training is killed.

    torch's readers watch the process above them, which is the fork server, and that lives as long as its readers do.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _as_it_is(part: Any) -> Any:
    return part


def _good(part: Part | str) -> Part:
    if isinstance(part, str):
        raise DataError(part)
    return part


@dataclass
class _Parts(Dataset["Part | str"]):
    """Item (step, p) is part p of this process's share of the batch of a step, or why there is none.

    An error that was raised in a reader would come out with the reader's traceback for a message.
    """

    samples: Samples
    batches: Batches
    parts: int
    order: tuple[int, Order | None] = field(default=(-1, None))

    def __getitem__(self, place: tuple[int, int]) -> Part | str:
        step, part = place
        epoch, config = step // self.batches.per_epoch, self.batches.config
        if self.order[0] != epoch:
            self.order = epoch, self.samples.order(config.seed, epoch, config.batch_size)
        assert self.order[1] is not None
        rows = np.array_split(self.batches.positions(self.order[1], step), self.parts)[part]
        try:
            chunk = self.samples.read(rows, seed=config.seed if config.augment else None, epoch=epoch)
        except DataError as error:
            return str(error)
        faults = tuple(str(fault) for fault in chunk.faults)
        return torch.from_numpy(chunk.inputs), torch.from_numpy(chunk.targets), faults


@dataclass
class _Steps(Sampler[tuple[int, int]]):
    """(step, part), parts running fastest: the loader hands them to its readers in turn."""

    start: int
    total: int
    parts: int

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((step, part) for step in range(self.start, self.total) for part in range(self.parts))

    def __len__(self) -> int:
        return (self.total - self.start) * self.parts
