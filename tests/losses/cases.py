"""One description per fused loss, so that every test runs over all three."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nestling.losses import NestedLoss, contrastive, mrl_cross_entropy, mrl_e_cross_entropy
from nestling.nesting import Nesting
from tests.losses import naive

CLASSES = 11


@dataclass(frozen=True)
class Case:
    """A fused loss and its loop, both as functions of the same leaves."""

    name: str
    leaves: Callable[[Nesting, int, torch.Generator], list[Tensor]]
    fused: Callable[..., NestedLoss]
    loop: Callable[..., Tensor]
    takes_labels: bool = True

    def make(self, nesting: Nesting, rows: int, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """Fresh leaves that ask for gradients."""
        made = self.leaves(nesting, rows, torch.Generator().manual_seed(seed))
        return [t.to(dtype).requires_grad_() for t in made]


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _mrl_leaves(nesting: Nesting, rows: int, g: torch.Generator) -> list[Tensor]:
    heads = [_normal(g, CLASSES, m) for m in nesting]
    return [_normal(g, rows, nesting.width), *heads, *(_normal(g, CLASSES) for _ in nesting)]


def _mrl_e_leaves(nesting: Nesting, rows: int, g: torch.Generator) -> list[Tensor]:
    return [_normal(g, rows, nesting.width), _normal(g, CLASSES, nesting.width), _normal(g, CLASSES)]


def _infonce_leaves(nesting: Nesting, rows: int, g: torch.Generator) -> list[Tensor]:
    x = _normal(g, rows, nesting.width)
    return [x, x + _normal(g, *x.shape), torch.tensor(0.07)]


def _ranking_leaves(nesting: Nesting, rows: int, g: torch.Generator) -> list[Tensor]:
    return [*_infonce_leaves(nesting, rows, g), _normal(g, 3, nesting.width)]


def _fused_mrl(leaves: list[Tensor], y: Tensor, n: Nesting, **how: Any) -> NestedLoss:
    return mrl_cross_entropy(leaves[0], y, n, leaves[1 : 1 + len(n)], leaves[1 + len(n) :], **how)


def _fused_mrl_e(leaves: list[Tensor], y: Tensor, n: Nesting, **how: Any) -> NestedLoss:
    return mrl_e_cross_entropy(leaves[0], y, n, leaves[1], leaves[2], **how)


CASES = (
    Case(
        "mrl",
        _mrl_leaves,
        _fused_mrl,
        lambda ls, y, n, **how: naive.mrl(ls[0], y, n, ls[1 : 1 + len(n)], ls[1 + len(n) :], **how),
    ),
    Case(
        "mrl-e",
        _mrl_e_leaves,
        _fused_mrl_e,
        lambda ls, y, n, **how: naive.mrl_e(ls[0], y, n, ls[1], ls[2], **how),
    ),
    Case(
        "infonce",
        _infonce_leaves,
        lambda ls, _, n, **how: contrastive(ls[0], ls[1], n, ls[2], **how),
        lambda ls, _, n, **how: naive.infonce(ls[0], ls[1], n, ls[2], **how),
        takes_labels=False,
    ),
    Case(
        "infonce-negatives",
        _ranking_leaves,
        lambda ls, _, n, **how: contrastive(ls[0], ls[1], n, ls[2], negatives=ls[3], **how),
        lambda ls, _, n, **how: naive.infonce(ls[0], ls[1], n, ls[2], negatives=ls[3], **how),
        takes_labels=False,
    ),
    Case(
        "ranking",
        _ranking_leaves,
        lambda ls, _, n, **how: contrastive(ls[0], ls[1], n, ls[2], negatives=ls[3], symmetric=False, **how),
        lambda ls, _, n, **how: naive.infonce(ls[0], ls[1], n, ls[2], negatives=ls[3], symmetric=False, **how),
        takes_labels=False,
    ),
)


def labels(rows: int, *, seed: int = 0) -> Tensor:
    """Random classes."""
    return torch.randint(CLASSES, (rows,), generator=torch.Generator().manual_seed(seed))
