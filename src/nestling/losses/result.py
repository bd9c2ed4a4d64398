"""What every nested loss returns."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class NestedLoss(NamedTuple):
    """A nested loss and its parts.

    Attributes:
        total: Σ_m c_m · L_m, the number to call ``backward()`` on (Kusupati et al. 2022, Eq. 1). A scalar;
            (b,) when the loss was asked for with ``reduction="none"``.
        per_dim: (K,) the losses L_m, smallest prefix first: unweighted, and detached unless the loss was asked
            for differentiable parts; (K, b) with ``reduction="none"``.
    """

    total: Float[Tensor, "..."]
    per_dim: Float[Tensor, "K ..."]
