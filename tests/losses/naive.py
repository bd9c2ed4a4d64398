"""The plain per-prefix loops that every fused loss must equal."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nestling.nesting import Nesting


def mrl(x: Tensor, y: Tensor, nesting: Nesting, heads: list[Tensor], biases: list[Tensor] | None, **how: Any) -> Tensor:
    """(K,) cross-entropies of one head per prefix."""
    given = biases or [None] * len(nesting)
    logits = [F.linear(x[:, :m], w, b) for m, w, b in zip(nesting, heads, given, strict=True)]
    return torch.stack([F.cross_entropy(z, y, **_of(how, k)) for k, z in enumerate(logits)])


def mrl_e(x: Tensor, y: Tensor, nesting: Nesting, head: Tensor, bias: Tensor | None, **how: Any) -> Tensor:
    """(K,) cross-entropies of one sliced head."""
    logits = [F.linear(x[:, :m], head[:, :m], bias) for m in nesting]
    return torch.stack([F.cross_entropy(z, y, **_of(how, k)) for k, z in enumerate(logits)])


def infonce(
    x: Tensor,
    y: Tensor,
    nesting: Nesting,
    tau: Tensor,
    groups: Tensor | None = None,
    negatives: Tensor | None = None,
    symmetric: bool = True,
) -> Tensor:
    """(K,) InfoNCE losses, of texts too unless `symmetric` is False; other pairs of one group are left out."""
    losses = []
    for m in nesting:
        every = y if negatives is None else torch.cat([y, negatives])
        s = F.normalize(x[:, :m], dim=1) @ F.normalize(every[:, :m], dim=1).T / tau
        match = torch.arange(len(s))
        for i in range(len(s)) if groups is not None else ():
            for j in range(len(s)):
                if i != j and groups[i] == groups[j]:
                    s[i, j] = -torch.inf
        forward, back = F.cross_entropy(s, match), F.cross_entropy(s[:, : len(y)].T, match)
        losses.append((forward + back) / 2 if symmetric else forward)
    return torch.stack(losses)


def _of(how: dict[str, Any], k: int) -> dict[str, Any]:
    """The options of the k-th prefix."""
    smoothing = how.get("label_smoothing")
    return how | {"label_smoothing": smoothing[k]} if isinstance(smoothing, tuple) else how
