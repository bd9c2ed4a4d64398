"""Batches of rows out of arrays that may be mapped, and which rows are held out."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from nestling.adaptor.neighbours import Mined, mined
from nestling.adaptor.settings import Material, Settings, Told
from nestling.training import Feed
from nestling.training.batches import Batches
from nestling.training.feed import Share

_HELD_OUT_AT_MOST = 2_048  # rows: one batch that is judged often
_HELD_OUT_FROM = 64  # of fewer rows none can be spared


class RowFeed(Feed):
    """Batches that a function cuts out: nothing but the batch is in memory.

    Args:
        count: n, how many positions there are.
        cut: positions (b,) to what the objective takes.
    """

    def __init__(self, count: int, cut: Callable[[np.ndarray], Share]) -> None:
        self.count, self.cut = count, cut

    def __len__(self) -> int:
        return self.count

    def fingerprint(self) -> dict[str, int]:
        """How many there are; adaptors are not resumed."""
        return {"samples": self.count}

    def shares(self, batches: Batches, start: int) -> Generator[Share]:
        """In the order of each epoch."""
        order = np.empty(0, np.int64)
        for step in range(start, batches.total):
            if step == start or step % batches.per_epoch == 0:
                order = batches.order(step // batches.per_epoch)
            yield self.cut(np.asarray(batches.positions(order, step)))


def parted(count: int, settings: Settings) -> tuple[Int64[np.ndarray, " t"], Int64[np.ndarray, " h"]]:
    """Rows to learn from and rows held out, each increasing; none are held out of few."""
    spare = min(int(count * settings.held_out), _HELD_OUT_AT_MOST) if count >= _HELD_OUT_FROM else 0
    order = np.random.default_rng(settings.seed).permutation(count)
    return np.sort(order[spare:]), np.sort(order[:spare])


class Cutter:
    """Cuts batches out of the material: vectors turned by the start and brought to a mean length of one.

    Args:
        material: the arrays.
        start: (d, d), applied to every row read; None leaves them as they are.
        scale: what the rows are divided by.
    """

    def __init__(self, material: Material, start: np.ndarray | None, scale: float) -> None:
        self.material = material
        turn = np.eye(material.x.shape[1]) if start is None else start
        self.turn = torch.from_numpy((turn / scale).astype(np.float32))

    def vectors(self, x: np.ndarray, rows: np.ndarray) -> Tensor:
        """(b, d) of some rows; a mapped file is read in its order."""
        order = np.argsort(rows, kind="stable")
        found = np.empty((len(rows), x.shape[1]), np.float32)
        found[order] = x[rows[order]]
        return torch.from_numpy(found) @ self.turn

    def labelled(self, rows: np.ndarray) -> Share:
        """Vectors with classes."""
        labels = self.material.labels
        assert labels is not None
        return self.vectors(self.material.x, rows), torch.from_numpy(labels[rows])

    def paired(self, rows: np.ndarray) -> Share:
        """Vectors with their partners."""
        partners = self.material.partners
        assert partners is not None
        return self.vectors(self.material.x, rows), self.vectors(partners, rows)

    def near(self, found: Mined, at: np.ndarray) -> Share:
        """Anchors with their neighbours."""
        x, near = self.material.x, found.near[at]
        return self.vectors(x, found.anchors[at]), self.vectors(x, near.reshape(-1)).reshape(*near.shape, -1)


def feeds(cutter: Cutter, settings: Settings, told: Told | None) -> tuple[RowFeed, Share | None]:
    """What is learnt from, and the held-out batch, None where no row can be spared."""
    material = cutter.material
    train, held = parted(len(material.x), settings)
    if material.kind == "neighbours":
        found = mined(material.x, train, settings.neighbors, seed=settings.seed, told=told)
        other = mined(material.x, held, settings.neighbors, seed=settings.seed) if len(held) > 1 else None
        judged = None if other is None else cutter.near(other, np.arange(min(len(other.anchors), settings.batch_size)))
        return RowFeed(len(found.anchors), lambda at: cutter.near(found, at)), judged
    cut = cutter.labelled if material.kind == "labels" else cutter.paired
    return RowFeed(len(train), lambda at: cut(train[at])), cut(held) if len(held) else None
