"""Batches of rows out of arrays that may be mapped, and which rows are held out."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from nestling.adaptor.neighbours import Mined, mined
from nestling.adaptor.settings import Material, Phases, Settings
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


class Feeds:
    """What is learnt from and what is held out, of which batches are cut: rows turned by a map and brought to a length.

    Args:
        material: the arrays.
        learnt, held: rows; or the mined anchors with their neighbours.
        start: (d, d), applied to every row read; None leaves them as they are.
        length: what the rows are divided by.
    """

    def __init__(
        self,
        material: Material,
        learnt: np.ndarray | Mined,
        held: np.ndarray | Mined,
        start: np.ndarray | None = None,
        length: float = 1.0,
    ) -> None:
        self.material, self._learnt, self._held = material, learnt, held
        turn = np.eye(material.x.shape[1]) if start is None else start
        self._turn = torch.from_numpy((turn / length).astype(np.float32))

    def turned(self, start: np.ndarray | None, length: float) -> Feeds:
        """The same rows under another map."""
        return Feeds(self.material, self._learnt, self._held, start, length)

    def learnt(self) -> RowFeed:
        """Batches to learn from."""
        return RowFeed(len(self._learnt), lambda at: self._cut(self._learnt, at))

    def held(self) -> Share | None:
        """The held-out batch, None where no row can be spared."""
        return self._cut(self._held, np.arange(len(self._held))) if len(self._held) else None

    def _cut(self, rows: np.ndarray | Mined, at: np.ndarray) -> Share:
        if isinstance(rows, Mined):
            near = rows.near[at]
            others = self._vectors(self.material.x, near.reshape(-1))
            return self._vectors(self.material.x, rows.anchors[at]), others.reshape(*near.shape, -1)
        chosen, labels, partners = rows[at], self.material.labels, self.material.partners
        second = torch.from_numpy(labels[chosen]) if labels is not None else self._vectors(partners, chosen)
        return self._vectors(self.material.x, chosen), second

    def _vectors(self, x: np.ndarray | None, rows: np.ndarray) -> Tensor:
        """(b, d) of some rows; a mapped file is read in its order."""
        assert x is not None
        order = np.argsort(rows, kind="stable")
        found = np.empty((len(rows), x.shape[1]), np.float32)
        found[order] = x[rows[order]]
        return torch.from_numpy(found) @ self._turn


def feeds(material: Material, settings: Settings, phases: Phases) -> Feeds:
    """All that is learnt from, with neighbours mined where there is nothing beside the vectors."""
    train, held = parted(len(material.x), settings)
    if material.kind != "neighbours":
        return Feeds(material, train, held)
    found, other = mined(material.x, train, held, settings.neighbors, seed=settings.seed, told=phases.next())
    return Feeds(material, found, other.first(settings.batch_size))


def mean_length(x: np.ndarray) -> float:
    """Of some rows, spread over all; 1 where they are zero."""
    rows = x[np.linspace(0, len(x) - 1, min(len(x), 4096)).astype(np.int64)].astype(np.float64)
    return float(np.linalg.norm(rows, axis=1).mean()) or 1.0
