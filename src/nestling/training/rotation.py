"""An orthogonal map that is learnt, and the nested cross-entropy that learns it with heads.

R = (I + A)⁻¹ (I − A) with A skew-symmetric (Cayley) is orthogonal, so all cosines and inner products at full width stay
what they were, and the full-width head W · Rᵀ gives the same logits. The other heads are refitted along: they learn
what the widest head answers (distillation, Hinton et al. 2015), because labels alone over-fit them on features that
never change; only the shortest, which is under-fitted, learns from the labels as much.

`finish` learns it behind a trained encoder, an adaptor over vectors that exist.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nestling.losses import NestedLoss
from nestling.models import NestedLinear
from nestling.nesting import Nesting, prefix
from nestling.training.objective import Objective

_LABELS = 0.5  # what the labels count in the loss of the shortest prefix; the rest is the widest head's


class Rotation(nn.Module):
    """R = (I + A)⁻¹ (I − A), A skew-symmetric: orthogonal whatever the parameters are, the identity at first.

    Costs one solve of d × d a step, and one in its backward pass.

    Args:
        width: d.
        learnt: its parameters take gradients.
    """

    def __init__(self, width: int, *, learnt: bool = True) -> None:
        super().__init__()
        self.skew = nn.Parameter(torch.zeros(width, width), requires_grad=learnt)

    def forward(self) -> Float[Tensor, "d d"]:
        """R, in the precision of A; a row vector x turns as x · Rᵀ."""
        skew = self.skew.triu(1)
        skew = skew - skew.T
        eye = torch.eye(len(skew), dtype=skew.dtype, device=skew.device)
        return torch.linalg.solve(eye + skew, eye - skew)


class RotationObjective(Objective):
    """The nested cross-entropy of the heads on R · x, against the widest head's answers and the labels.

    A head as wide as the features follows from R and has no loss. Without any other head there is nothing to rotate:
    then that one is refitted. The widest of the heads that are learnt has labels alone if no wider one answers.

    Args:
        head: a trained one; it is copied.
        width: of the features, at least the head's.
    """

    widest: Tensor
    widest_bias: Tensor | None

    def __init__(self, head: NestedLinear, width: int) -> None:
        super().__init__()
        dims = head.nesting.dims
        self.rotates = dims != (width,)
        self.follows = width == dims[-1] and self.rotates
        short = dims[:-1] if self.follows else dims
        self.nesting = Nesting(short, _boosted(len(short)))
        self.turn = Rotation(width, learnt=self.rotates)
        bias = head.bias_at(dims[-1])
        self.register_buffer("widest", head.weight_at(dims[-1]).detach().clone(), persistent=False)
        self.register_buffer("widest_bias", None if bias is None else bias.detach().clone(), persistent=False)
        self.heads: NestedLinear | None = None  # a tied head as wide as the features follows from R at every prefix
        if not (head.tied and self.follows):
            self.heads = NestedLinear(self.nesting, head.classes, tied=head.tied, bias=bias is not None)
            with torch.no_grad():
                for own, theirs in zip(self.heads.parameters(), _first(head, len(self.heads.weights)), strict=True):
                    own.copy_(theirs)

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """The shortest head's, which is far from where it can be."""
        return () if self.heads is None else _first(self.heads, 1)

    def rotation(self) -> Float[Tensor, "d d"]:
        """R, in the precision of its parameters."""
        return self.turn()

    def forward(
        self, inputs: Float[Tensor, "b d"], targets: Int[Tensor, " b"], weights: Float[Tensor, " k"] | None = None
    ) -> NestedLoss:
        """The loss of a batch of features and labels."""
        rotation = self.rotation()
        logits = self._logits(inputs @ rotation[: self.nesting.width].T, rotation)
        with torch.no_grad():
            wider = F.linear(prefix(inputs, self.widest.shape[1]), self.widest, self.widest_bias).softmax(dim=1)
        losses = [
            share * F.cross_entropy(z, targets) + (1 - share) * F.cross_entropy(z, wider)
            for z, share in zip(logits, self._shares(), strict=True)
        ]
        parts = torch.stack(losses)
        chosen = parts.new_tensor(self.nesting.weights) if weights is None else weights
        return NestedLoss((chosen * parts).sum(), parts.detach())

    def _logits(self, features: Tensor, rotation: Tensor) -> list[Tensor]:
        if self.heads is not None:
            return list(self.heads(features))
        weight = self.widest @ rotation.T
        return [F.linear(prefix(features, m), prefix(weight, m), self.widest_bias) for m in self.nesting]

    def _shares(self) -> list[float]:
        """What the labels count at each prefix; all where a tied head leaves nothing to over-fit."""
        if self.heads is None:
            return [1.0] * len(self.nesting)
        shares = [_LABELS] + [0.0] * (len(self.nesting) - 1)
        return shares if self.follows else [*shares[:-1], 1.0]


def _first(head: NestedLinear, count: int) -> list[nn.Parameter]:
    return [*list(head.weights)[:count], *list(head.biases)[:count]]


def _boosted(count: int) -> tuple[float, ...]:
    return ((4.0, 2.0) + (1.0,) * count)[:count]
