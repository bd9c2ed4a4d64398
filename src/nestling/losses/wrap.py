"""`nest`: any loss on every prefix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nestling.errors import ShapeError
from nestling.losses import weighting
from nestling.losses.result import NestedLoss
from nestling.nesting import Nesting, prefix, truncate


def nest(loss_fn: Callable[..., Tensor], nesting: Nesting, normalize: bool = False) -> Callable[..., NestedLoss]:
    """Make a loss on embeddings into the nested loss Σ_m c_m · loss_fn(prefixes m) (Kusupati et al. 2022, Eq. 1).

    Args:
        loss_fn: takes tensors, returns a scalar, or one value per sample.
        nesting: the prefixes; its largest dim tells which arguments are embeddings.
        normalize: renormalise each prefix to length one (what a loss on unit vectors expects).

    Returns:
        A function of the same arguments and ``weights=`` (K,) → `NestedLoss`. Floating tensors whose last dim is the
        nesting's largest are cut; every other argument passes through as it is.

    Raises:
        ShapeError: (when called) no argument is as wide as the nesting.
    """
    cut = truncate if normalize else prefix

    def nested(*args: Any, weights: Tensor | None = None, **kwargs: Any) -> NestedLoss:
        widths = [a for a in (*args, *kwargs.values()) if _is_embedding(a, nesting.width)]
        if not widths:
            raise ShapeError.of(
                "the arguments",
                f"embeddings at least once: floating tensors {nesting.width} wide",
                [tuple(a.shape) for a in (*args, *kwargs.values()) if isinstance(a, Tensor)],
                "Give the nesting of your embeddings' width.",
            )
        parts = torch.stack(
            [
                loss_fn(
                    *(cut(a, m) if _is_embedding(a, nesting.width) else a for a in args),
                    **{n: cut(a, m) if _is_embedding(a, nesting.width) else a for n, a in kwargs.items()},
                )
                for m in nesting
            ]
        )
        c = weighting.resolve(weights, nesting, widths[0])
        return NestedLoss(torch.tensordot(c.to(parts.dtype), parts, dims=1), parts.detach())

    return nested


def _is_embedding(value: Any, width: int) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0 and value.shape[-1] == width
