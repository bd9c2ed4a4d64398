"""The classifier on every prefix: one weight per dim (MRL), or one weight that is sliced (MRL-E)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nestling.errors import InputError, ShapeError
from nestling.losses import NestedLoss, mrl_cross_entropy, mrl_e_cross_entropy
from nestling.nesting import Nesting, prefix


class NestedLinear(nn.Module):
    """A linear classifier on each prefix of a nesting (Kusupati et al. 2022, Eq. 1).

    MRL has a weight W⁽ᵐ⁾ (c, m) and a bias (c,) of its own for each m. MRL-E (`tied`) has one W (c, d),
    whose first m columns serve prefix m, and one bias: then z_k = z_{k-1} + x_ring · W_ringᵀ, bias once.

    Args:
        nesting: the prefixes; its largest dim is the width of the features.
        classes: c, how many.
        tied: MRL-E instead of MRL.
        bias: add a bias to the logits.
        generator: draws the first weights, as `nn.Linear` of the same width does; torch's own when left out.

    Raises:
        InputError: `classes` is not a positive whole number.
    """

    def __init__(
        self,
        nesting: Nesting,
        classes: int,
        *,
        tied: bool = False,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
            raise InputError.of("classes", "a positive whole number", repr(classes))
        self.nesting, self.classes, self.tied = nesting, classes, tied
        widths = (nesting.width,) if tied else nesting.dims
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(classes, m)) for m in widths])
        self.biases = nn.ParameterList([nn.Parameter(torch.empty(classes)) for _ in widths] if bias else [])
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw weights and biases from U(−1/√m, 1/√m), as `nn.Linear` does at width m."""
        for i, weight in enumerate(self.weights):
            bound = 1 / math.sqrt(weight.shape[1])
            weight.uniform_(-bound, bound, generator=generator)
            if len(self.biases):
                self.biases[i].uniform_(-bound, bound, generator=generator)

    def extra_repr(self) -> str:
        """What `repr` shows beside the parameters."""
        return f"nesting={self.nesting}, classes={self.classes}, tied={self.tied}, bias={len(self.biases) > 0}"

    def weight_at(self, m: int) -> Float[Tensor, "c m"]:
        """The weight of prefix m: a view of the shared one when tied.

        Raises:
            NestingError: m is not a dim of the nesting.
        """
        i = self._position(m)
        return prefix(self.weights[0], m) if self.tied else self.weights[i]

    def bias_at(self, m: int) -> Float[Tensor, " c"] | None:
        """The bias of prefix m (the same one for all when tied), or None when built without.

        Raises:
            NestingError: m is not a dim of the nesting.
        """
        i = self._position(m)
        if not len(self.biases):
            return None
        return self.biases[0 if self.tied else i]

    def forward(self, features: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "b c"], ...]:
        """The K logits, smallest prefix first.

        Raises:
            ShapeError: the features are not exactly as wide as the nesting.
        """
        self._check(features)
        if not self.tied:
            return tuple(F.linear(prefix(features, m), self.weight_at(m), self.bias_at(m)) for m in self.nesting)
        logits: list[Tensor] = []
        for ring in self.nesting.rings():
            new = F.linear(features[:, ring], self.weights[0][:, ring], None if logits else self._first_bias())
            logits.append(logits[-1] + new if logits else new)
        return tuple(logits)

    def logits(self, features: Float[Tensor, "b d"], m: int) -> Float[Tensor, "b c"]:
        """The logits of prefix m alone; features may be cut already, to m or more.

        Raises:
            NestingError: m is not a dim of the nesting.
            ShapeError: the features are narrower than m.
        """
        return F.linear(prefix(features, m), self.weight_at(m), self.bias_at(m))

    def loss(
        self,
        features: Float[Tensor, "b d"],
        labels: Int[Tensor, " b"],
        *,
        weights: Float[Tensor, " k"] | None = None,
        label_smoothing: float | Sequence[float] = 0.0,
        ignore_index: int = -100,
        reduction: str = "mean",
        differentiable_parts: bool = False,
    ) -> NestedLoss:
        """Σ_m c_m · cross-entropy of prefix m's logits: `losses.mrl_cross_entropy`, or MRL-E's when tied.

        Raises:
            ShapeError: the features are not exactly as wide as the nesting; weights or smoothings not one per dim.
        """
        self._check(features)
        if self.tied:
            return mrl_e_cross_entropy(
                features,
                labels,
                self.nesting,
                self.weights[0],
                self._first_bias(),
                weights=weights,
                label_smoothing=label_smoothing,
                ignore_index=ignore_index,
                reduction=reduction,
                differentiable_parts=differentiable_parts,
            )
        return mrl_cross_entropy(
            features,
            labels,
            self.nesting,
            list(self.weights),
            list(self.biases) if len(self.biases) else None,
            weights=weights,
            label_smoothing=label_smoothing,
            ignore_index=ignore_index,
            reduction=reduction,
            differentiable_parts=differentiable_parts,
        )

    def _first_bias(self) -> Tensor | None:
        return self.biases[0] if len(self.biases) else None

    def _position(self, m: int) -> int:
        return len(self.nesting.up_to(m)) - 1

    def _check(self, features: Tensor) -> None:
        if features.ndim != 2:
            raise ShapeError.of("features", "two-dimensional, (b, d)", f"shape {tuple(features.shape)}")
        self.nesting.check(features, "features")
