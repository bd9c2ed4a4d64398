"""What an adaptor minimises: batches of vectors in, a nested loss out (with labels, `training.rotation` has it)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from nestling.losses import NestedLoss, contrastive
from nestling.nesting import Nesting, prefix
from nestling.training import Objective
from nestling.training.rotation import Rotation

SPREAD = 6.0  # what the left-out share counts beside the divergence; chosen on two sets (docs/LOG.md)
_NEAR = 16  # of a batch, where no neighbours were mined


def cosines(x: Float[Tensor, "b d"], y: Float[Tensor, "c d"], nesting: Nesting) -> Iterator[Float[Tensor, "b c"]]:
    """The cosines of all pairs at each prefix: dot products and squared norms as running sums over rings."""
    dots = x.new_zeros(len(x), len(y))
    norms = [v.new_full((len(v),), 1e-12) for v in (x, y)]
    for ring in nesting.rings():
        dots = dots + x[:, ring] @ y[:, ring].T
        norms = [n + v[:, ring].square().sum(1) for n, v in zip(norms, (x, y), strict=True)]
        yield dots * norms[0].rsqrt()[:, None] * norms[1].rsqrt()


def left_out(turn: Float[Tensor, "w t"], gram: Float[Tensor, "t t"], nesting: Nesting) -> Float[Tensor, " K"]:
    """Which share of all squared lengths a prefix leaves out: what the uncentred PCA makes smallest.

    Args:
        turn: the first w rows of a rotation of the first t numbers.
        gram: Σ x xᵀ of those numbers, over the Σ x² of all of them.
        nesting: of w numbers.
    """
    kept = ((turn @ gram) * turn).sum(1)
    return 1 - torch.stack([kept[ring].sum() for ring in nesting.rings()]).cumsum(0)


def weighed(parts: list[Tensor], nesting: Nesting, weights: Tensor | None) -> NestedLoss:
    """Σ c_m · L_m."""
    losses = torch.stack(parts)
    chosen = losses.new_tensor(nesting.weights) if weights is None else weights
    return NestedLoss((chosen * losses).sum(), losses.detach())


class NeighbourRotation(Objective):
    """KL between whom a vector is near to at full width and whom at a prefix, by a rotation.

    L_m = mean_i Σ_j p_ij (log p_ij − log q_ij), p = softmax(cos_d(x_i, x_j)/τ), q = softmax(cos_m(R x_i, R x_j)/τ_m)
    over all rows of the batch but i itself: its mined neighbours, and those of the others as strangers. τ_m is learnt
    beside R, because short prefixes crowd all cosines near one. The divergence alone may throw away the loud directions
    that classes lie in; so the share of the squared lengths that a prefix leaves out, which the uncentred PCA makes
    smallest, is added `SPREAD` times: of all rows, by their Gram matrix, because a batch is full of neighbours, and
    those are of the dense regions.

    R turns the first numbers alone. Where a prefix is not short, principal components are hardly improved: there they
    stay, and nothing is lost.

    Args:
        nesting: prefixes narrower than what is turned.
        gram: Σ x xᵀ over all rows x, as they come here but for one factor.
        temperature: τ.
        turned: how many numbers.
    """

    divisible = False
    gram: Tensor

    def __init__(self, nesting: Nesting, gram: Float[Tensor, "d d"], temperature: float, turned: int) -> None:
        super().__init__()
        self.nesting, self.temperature, self.turned = nesting, temperature, turned
        self.turn = Rotation(turned)
        self.whole = Nesting((len(gram),))
        self.register_buffer("gram", gram[:turned, :turned] / gram.trace().clamp(min=1e-30), persistent=False)
        self.scales = nn.Parameter(torch.full((len(nesting),), -math.log(temperature)))

    def forward(
        self,
        inputs: Float[Tensor, "b d"],
        targets: Float[Tensor, "b s d"],
        weights: Float[Tensor, " k"] | None = None,
    ) -> NestedLoss:
        """The loss of anchors and their neighbours."""
        others = torch.cat([inputs, targets.flatten(0, 1)])
        with torch.no_grad():
            (found,) = cosines(inputs, others, self.whole)
            wished = self._without_itself(found / self.temperature).softmax(dim=1)
            least = torch.special.entr(wished).sum(1).mean()
        turn = self.turn()[: self.nesting.width].T
        turned = others[:, : self.turned] @ turn  # the anchors come first
        rest = left_out(turn.T, self.gram, self.nesting)
        found = cosines(turned[: len(inputs)], turned, self.nesting)
        parts = [
            F.cross_entropy(self._without_itself(near * scale.exp()), wished) - least + SPREAD * off
            for near, scale, off in zip(found, self.scales, rest, strict=True)
        ]
        return weighed(parts, self.nesting, weights)

    @staticmethod
    def _without_itself(logits: Tensor) -> Tensor:
        own = torch.eye(*logits.shape, dtype=torch.bool, device=logits.device)
        return logits.masked_fill(own, -1e4)  # not −∞: 0 · ∞ in the entropy


class PairRotation(Objective):
    """The nested InfoNCE of pairs under one rotation for both sides.

    Args:
        nesting: prefixes narrower than the vectors.
        width: d.
        temperature: τ.
    """

    divisible = False

    def __init__(self, nesting: Nesting, width: int, temperature: float) -> None:
        super().__init__()
        self.nesting, self.temperature = nesting, temperature
        self.turn = Rotation(width)

    def forward(
        self, inputs: Float[Tensor, "b d"], targets: Float[Tensor, "b d"], weights: Float[Tensor, " k"] | None = None
    ) -> NestedLoss:
        """The loss of a batch of pairs; equal second sides are not held against one another."""
        turn = self.turn()[: self.nesting.width].T
        return contrastive(
            inputs @ turn, targets @ turn, self.nesting, self.temperature, weights=weights, groups=twins(targets)
        )


def twins(x: Float[Tensor, "b d"]) -> Shaped[Tensor, " b"] | None:
    """A number for each row, the same for equal rows; None where all differ, which costs the loss nothing."""
    found, groups = torch.unique(
        x @ torch.linspace(-1, 1, x.shape[1], dtype=x.dtype, device=x.device) ** 3, return_inverse=True
    )
    return groups if len(found) < len(x) else None


class ResidualMap(nn.Module):
    """x · M + max(0, x · A + a) · B + b, which begins as a rotation: B and b are zero at first.

    Args:
        start: M (d, d).
        hidden: h.
        generator: draws A.
    """

    def __init__(self, start: Float[Tensor, "d d"], hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        width = len(start)
        self.matrix = nn.Parameter(start.clone())
        # Of unit vectors each hidden number then has a variance of one.
        self.into = nn.Parameter(torch.randn(width, hidden, generator=generator))
        self.into_bias = nn.Parameter(torch.zeros(hidden))
        self.out = nn.Parameter(torch.zeros(hidden, width))
        self.out_bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """The adapted vectors."""
        return x @ self.matrix + F.relu(x @ self.into + self.into_bias) @ self.out + self.out_bias


class ResidualObjective(Objective):
    """Matryoshka-Adaptor (Yoon et al. 2024, arXiv 2407.20243) at every prefix: L_rank + α L_topk + β L_pair + γ L_rec.

    L_pair is the mean of |cos_d(x_i, x_j) − cos_m(y_i, y_j)| over the pairs of a batch, L_topk the same over the pairs
    that are near at full width, L_rec how far y is from where the map began, over the squared length. L_rank is the
    InfoNCE of pairs, or of labels: the mean over the rows of one class of −log softmax_j(cos_m(y_i, y_j)/τ).

    Args:
        nesting: the prefixes.
        start: M at first (d, d).
        kind: "neighbours", "labels" or "pairs": what the second side of a batch is.
        hidden: h; separate: two maps, one for each side of a pair.
        temperature: τ.
        shares: α, β, γ.
        generator: draws the first weights.
    """

    divisible = False
    start: Tensor

    def __init__(
        self,
        nesting: Nesting,
        start: Float[Tensor, "d d"],
        kind: str,
        *,
        hidden: int,
        separate: bool,
        temperature: float,
        shares: tuple[float, float, float],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.nesting, self.kind, self.temperature, self.shares = nesting, kind, temperature, shares
        self.whole = Nesting((len(start),))
        self.register_buffer("start", start.clone(), persistent=False)
        self.maps = nn.ModuleList([ResidualMap(start, hidden, generator) for _ in range(1 + separate)])

    def forward(
        self, inputs: Float[Tensor, "b d"], targets: Shaped[Tensor, "b ..."], weights: Float[Tensor, " k"] | None = None
    ) -> NestedLoss:
        """The loss of vectors with their neighbours (b, k, d), labels (b,) or partners (b, d)."""
        second = inputs if self.kind == "labels" else targets.reshape(-1, inputs.shape[1])
        x = prefix(self.maps[0](inputs), self.nesting.width)
        y = x if self.kind == "labels" else prefix(self.maps[-1](second), self.nesting.width)
        kept = self._kept(inputs, second, x, y)
        if self.kind == "neighbours":
            return weighed(kept, self.nesting, weights)
        if self.kind == "pairs":
            ranked = contrastive(x, y, self.nesting, self.temperature, weights=weights, groups=twins(second))
            more = weighed(kept, self.nesting, weights)
            return NestedLoss(ranked.total + more.total, ranked.per_dim + more.per_dim)
        ranks = [self._by_class(found, targets) for found in cosines(x, y, self.nesting)]
        return weighed([a + b for a, b in zip(ranks, kept, strict=True)], self.nesting, weights)

    def _kept(self, a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> list[Tensor]:
        """What is to stay: similarities, of near ones most of all, and the vectors themselves."""
        near_share, pair_share, own_share = self.shares
        with torch.no_grad():
            (wished,) = cosines(a, b, self.whole)
            near = self._near(wished)
        far = [self._from_start(a, x), self._from_start(b, y)]
        parts = []
        for k, found in enumerate(cosines(x, y, self.nesting)):
            off = (found - wished).abs()
            parts.append(near_share * off[near].mean() + pair_share * off.mean() + own_share * (far[0][k] + far[1][k]))
        return parts

    def _near(self, wished: Tensor) -> Tensor:
        """Which pairs are near: the mined ones, or the nearest of the batch."""
        rows = len(wished)
        if self.kind == "neighbours":
            mine = torch.arange(wished.shape[1], device=wished.device) // (wished.shape[1] // rows)
            return mine == torch.arange(rows, device=wished.device)[:, None]
        near = torch.zeros_like(wished, dtype=torch.bool)
        return near.scatter_(1, wished.topk(min(_NEAR, wished.shape[1]), dim=1).indices, True)

    def _from_start(self, a: Tensor, x: Tensor) -> Tensor:
        """(K,) ‖x_m − (a · start)_m‖² / ‖a‖², the mean over the rows: a running sum over rings."""
        off = (x - a @ self.start[:, : self.nesting.width]).square()
        rings = torch.stack([off[:, ring].sum(1) for ring in self.nesting.rings()])
        return (rings.cumsum(0) / a.square().sum(1).clamp(min=1e-12)).mean(1)

    def _by_class(self, found: Tensor, labels: Tensor) -> Tensor:
        own = torch.eye(len(found), dtype=torch.bool, device=found.device)
        same = (labels[:, None] == labels) & ~own
        log = (found / self.temperature).masked_fill(own, -torch.inf).log_softmax(dim=1)
        counts = same.sum(1)
        each = -log.masked_fill(~same, 0).sum(1) / counts.clamp(min=1)
        return each.sum() / (counts > 0).sum().clamp(min=1)
