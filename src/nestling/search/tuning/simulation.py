"""What a plan finds, from lists that the engine made once: every keep of every stage is then a comparison of ranks.

The engine orders a long shortlist by each stage. A true neighbour survives ``s:K1`` when it stands before K1 in the
sketch's order, and ``x:K2`` behind it when fewer than K2 of the first K1 stand before it in x's order. A third stage
counts the same way among all of the second's longest list: a few more than K3 may survive in truth, never fewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from nestling.search.engine import Engine
from nestling.search.tuning.questions import Questions
from nestling.search.tuning.sketches import places


def listed(engine: Engine, questions: Questions, plan: str, threads: int) -> Int64[np.ndarray, "q L"]:
    """The whole list that a plan keeps, in the order of its last stage."""
    return engine.search(questions.x, engine.resolved(plan, None), threads=threads)[0]


def crossed(first: Int64[np.ndarray, "q L"], then: Int64[np.ndarray, "q L"]) -> Int64[np.ndarray, "q L"]:
    """Where each entry of the first list stands in the second, which holds the same rows in another order."""
    found = np.empty_like(first)
    np.put_along_axis(found, np.argsort(first, axis=1, kind="stable"), np.argsort(then, axis=1, kind="stable"), axis=1)
    return found


@dataclass(frozen=True, eq=False)
class Lists:
    """A sketch's list, perhaps cut to probed cells, and where the true neighbours stand in it.

    Attributes:
        rows: (q, L) best first.
        inside: (q, L) which are in probed cells; (1, L) of True without cells.
        place: (q, k) of each true neighbour, counted inside; L if it is not there.
    """

    rows: Int64[np.ndarray, "q L"]
    inside: Bool[np.ndarray, "#q L"]
    place: Int64[np.ndarray, "q k"]

    @classmethod
    def of(cls, rows: Int64[np.ndarray, "q L"], true: Int64[np.ndarray, "q k"]) -> Lists:
        """Without cells."""
        return cls(rows, np.ones((1, rows.shape[1]), bool), places(rows, true))

    def probed(self, inside: Bool[np.ndarray, "q L"]) -> Lists:
        """Only what lies in the probed cells."""
        length = self.rows.shape[1]
        last = np.minimum(self.place, length - 1)
        there = (self.place < length) & np.take_along_axis(inside, last, axis=1)
        before = np.take_along_axis(np.cumsum(inside, axis=1), last, axis=1) - 1
        return Lists(self.rows, inside, np.where(there, before, length))

    def kept(self, keeps: Int64[np.ndarray, " a"]) -> Bool[np.ndarray, "q k a"]:
        """Whether each neighbour survives each keep of the sketch."""
        return self.place[:, :, None] < keeps

    def reach(self, keeps: Int64[np.ndarray, " a"]) -> Float32[np.ndarray, "b L a"]:
        """1 for the entries that each keep leaves."""
        number = np.cumsum(self.inside, axis=1)
        return (self.inside[:, :, None] & (number[:, :, None] <= keeps)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Order:
    """How a second stage would order the first L entries of a list.

    Attributes:
        ahead: 1 for the entries that it puts before each true neighbour; all of them before one that is not there.
    """

    ahead: Float32[np.ndarray, "q k L"]

    @classmethod
    def of(
        cls, rows: Int64[np.ndarray, "q L"], then: Int64[np.ndarray, "q L"], true: Int64[np.ndarray, "q k"]
    ) -> Order:
        """From the list in both orders."""
        across = crossed(rows, then)
        return cls((across[:, None, :] < places(then, true)[:, :, None]).astype(np.float32))

    @property
    def length(self) -> int:
        """L."""
        return self.ahead.shape[2]

    def ranks(self, reach: Float32[np.ndarray, "#q M a"]) -> Float32[np.ndarray, "q k a"]:
        """The rank of each neighbour among what each keep of the first stage leaves; of those it leaves itself."""
        return np.matmul(self.ahead, reach[:, : self.length])


def share(kept: Bool[np.ndarray, "q k *grid"]) -> Float64[np.ndarray, "*grid"]:
    """Recall of each point of a grid."""
    return kept.mean(axis=(0, 1))
