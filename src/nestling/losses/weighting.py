"""The weights c_m of a call: one place where parts become a total."""

from __future__ import annotations

import torch
from torch import Tensor

from nestling.errors import ShapeError
from nestling.nesting import Nesting


def resolve(weights: Tensor | None, nesting: Nesting, like: Tensor) -> Tensor:
    """(K,) weights on the device of `like`, in float32 or wider: those given, else the nesting's own.

    Raises:
        ShapeError: not exactly one weight per dim.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    if weights is None:
        return torch.tensor(nesting.weights, dtype=dtype, device=like.device)
    if weights.shape != (len(nesting),):
        raise ShapeError.of("weights", f"one per dim, shape ({len(nesting)},)", f"shape {tuple(weights.shape)}")
    return weights.to(device=like.device, dtype=dtype)
