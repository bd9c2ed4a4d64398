"""Nested cross-entropy for MRL (one head per prefix) and MRL-E (one head, sliced), fused.

Both equal the naive line ``sum(c_m * F.cross_entropy(F.linear(x[:, :m], W_m, b_m), y) for m in dims)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nestling.errors import ShapeError
from nestling.losses import weighting
from nestling.losses.chunks import row_chunks
from nestling.losses.formed import formed_loss
from nestling.losses.precision import Precision, partial_sums
from nestling.losses.result import NestedLoss
from nestling.losses.targets import Softmax, Targets
from nestling.nesting import Nesting, prefix


def mrl_cross_entropy(
    features: Float[Tensor, "b d"],
    labels: Int[Tensor, " b"],
    nesting: Nesting,
    head_weights: Sequence[Float[Tensor, "c _"]],
    head_biases: Sequence[Float[Tensor, " c"]] | None = None,
    *,
    weights: Float[Tensor, " k"] | None = None,
    label_smoothing: float | Sequence[float] = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
    differentiable_parts: bool = False,
) -> NestedLoss:
    """Cross-entropy of one head per prefix (MRL; Kusupati et al. 2022, Eq. 1).

    Args:
        features: (b, d), d the nesting's width.
        labels: (b,) classes 0 … c-1, or `ignore_index`.
        nesting: the K prefixes.
        head_weights: K matrices (c, m), smallest prefix first.
        head_biases: K vectors (c,), or None.
        weights: (K,) c_m of this call, the nesting's when None; gets a gradient when it asks for one.
        label_smoothing: mass moved from the true class to all alike, of every prefix or one number for each.
        ignore_index, reduction ("mean", "sum", "none"): as in `torch.nn.functional.cross_entropy`.
        differentiable_parts: let ``per_dim`` carry gradients too (and be differentiated twice); recomputes the logits
            in the backward pass, slower.

    Raises:
        ShapeError: a shape does not fit the nesting, or smoothings are not one per dim.
        InputError: a label outside the classes, an unknown reduction, or smoothing outside 0 … 1.
    """
    _check_heads(head_weights, head_biases, nesting)
    c = weighting.resolve(weights, nesting, features)
    targets = _targets(features, labels, nesting, head_weights[0], c, label_smoothing, ignore_index, reduction)
    biases = [None] * len(nesting) if head_biases is None else list(head_biases)
    inputs = [features, *head_weights, *biases]
    if differentiable_parts or reduction == "none":
        return _recomputed(_head_logits, nesting, targets, c, inputs, differentiable_parts)
    return formed_loss(_HeadsForm(nesting, targets, Precision.of(features)), c, inputs)


def mrl_e_cross_entropy(
    features: Float[Tensor, "b d"],
    labels: Int[Tensor, " b"],
    nesting: Nesting,
    head_weight: Float[Tensor, "c _"],
    head_bias: Float[Tensor, " c"] | None = None,
    *,
    weights: Float[Tensor, " k"] | None = None,
    label_smoothing: float | Sequence[float] = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
    differentiable_parts: bool = False,
) -> NestedLoss:
    """Cross-entropy of one head whose weight is cut to each prefix (MRL-E; Kusupati et al. 2022, §3).

    All K losses cost what the widest costs: logits are a running sum over rings, z_k = z_{k-1} + x_ring W_ringᵀ, and so
    are the gradients, from the other end: dL/dx_ring_k = (Σ_{j≥k} g_j) W_ring_k with g_j = c_j (softmax(z_j) - target).

    Args:
        head_weight: (c, d), sliced to (c, m) at prefix m.
        head_bias: (c,), shared by all prefixes, or None.

    The other arguments, the result and the errors are those of `mrl_cross_entropy`.
    """
    nesting.check(head_weight, "head_weight")
    c = weighting.resolve(weights, nesting, features)
    targets = _targets(features, labels, nesting, head_weight, c, label_smoothing, ignore_index, reduction)
    inputs = [features, head_weight, head_bias]
    if differentiable_parts or reduction == "none":
        return _recomputed(_tied_logits, nesting, targets, c, inputs, differentiable_parts)
    return formed_loss(_TiedForm(nesting, targets, Precision.of(features)), c, inputs)


SHORT_PREFIX = 64
"""A prefix this many times shorter than the width is multiplied again rather than kept."""


class _HeadsForm:
    """MRL: head after head, chunk after chunk of rows; each chunk's logits become its gradient in place."""

    def __init__(self, nesting: Nesting, targets: Targets, precision: Precision) -> None:
        self.nesting, self.targets, self.precision = nesting, targets, precision

    def __call__(self, inputs: Sequence[Any], c: Tensor, wanted: Sequence[bool]) -> tuple[Tensor, list[Tensor | None]]:
        count = len(self.nesting)
        grads = _fresh_grads(inputs, wanted, self.precision)
        if grads[0] is not None:
            grads[0].zero_()  # heads add to it, each as far as its prefix goes
        x, per_dim = self.precision.cast(inputs[0]), torch.zeros_like(c)
        for k, m in enumerate(self.nesting):
            per_dim[k] = self._one_head(
                k,
                prefix(x, m),
                self.precision.cast(inputs[1 + k]),
                inputs[1 + count + k],
                c[k] * self.targets.scale,
                None if grads[0] is None else prefix(grads[0], m),
                grads[1 + k],
                grads[1 + count + k],
            )
        return per_dim * self.targets.scale, _in_dtypes(grads, inputs)

    def _one_head(
        self,
        k: int,
        x: Tensor,
        head: Tensor,
        bias: Tensor | None,
        factor: Tensor,
        to_x: Tensor | None,
        to_head: Tensor | None,
        to_bias: Tensor | None,
    ) -> Tensor:
        loss = torch.zeros_like(factor)
        chunks = row_chunks(len(x), factor.itemsize * len(head), x.device)
        for rows in chunks:
            z = _start(factor.new_empty((len(x[rows]), len(head))), bias)
            self.precision.add_product(z, x[rows], head.T)
            found = Softmax.room(z, len(z))
            self.targets.exponentials(k, z, rows, z, found)
            loss += self.targets.summed_loss(found, rows)
            self.targets.subtract_(k, z, found.total, rows)
            z.mul_(self.targets.kept[rows] * factor / found.total)
            if to_x is not None:
                self.precision.add_product(to_x[rows], z, head, parts=2)
            if to_head is not None:
                fresh = rows.start == 0
                self.precision.add_product(to_head, z.T, x[rows], parts=-(-2 // len(chunks)), fresh=fresh)
            if to_bias is not None:
                to_bias += z.sum(0, dtype=torch.float64)
        return loss


class _TiedForm:
    """MRL-E: a chunk of rows walks the rings out, keeping exponentials, and back, adding the gradients up.

    Layers of the room hold one prefix's (rows, classes) each. The shortest prefixes keep none: their few dims are
    multiplied again on the way back, which costs less than a layer's memory.
    """

    def __init__(self, nesting: Nesting, targets: Targets, precision: Precision) -> None:
        self.nesting, self.targets, self.precision = nesting, targets, precision
        short = sum(m * SHORT_PREFIX <= nesting.width for m in nesting)
        self.repeated = min(short, max(len(nesting) - 2, 0))  # the way back needs two layers to add in

    def __call__(self, inputs: Sequence[Any], c: Tensor, wanted: Sequence[bool]) -> tuple[Tensor, list[Tensor | None]]:
        grads = _fresh_grads(inputs, wanted, self.precision)
        x, head, bias = self.precision.cast(inputs[0]), self.precision.cast(inputs[1]), inputs[2]
        kept, per_dim = len(c) - self.repeated, torch.zeros_like(c)
        chunks = row_chunks(len(x), c.itemsize * len(head) * kept, x.device)
        room = c.new_empty((kept, max((r.stop - r.start for r in chunks), default=0), len(head)))
        for rows in chunks:
            layers = room[:, : rows.stop - rows.start]
            found = self._outwards(x[rows], head, bias, rows, layers)
            per_dim += self.targets.summed_loss(found, rows)
            if any(wanted):
                factors = self.targets.kept[rows] * (c * self.targets.scale)[:, None, None] / found.total
                for k, g in self._inwards(x[rows], head, bias, rows, layers, found, factors):
                    self._add(k, g, x, head, rows, grads, len(chunks))
        return per_dim * self.targets.scale, _in_dtypes(grads, inputs)

    def _outwards(self, x: Tensor, head: Tensor, bias: Tensor | None, rows: slice, layers: Tensor) -> Softmax:
        """Fill the layers with exp(z_k - max z_k); z itself lives, and ends, in the last."""
        z = _start(layers[-1], bias)
        found = Softmax.room(z, len(self.nesting), len(x))
        for k, ring in enumerate(self.nesting.rings()):
            self.precision.add_product(z, x[:, ring], head[:, ring].T)
            self.targets.exponentials(k, z, rows, layers[max(k - self.repeated, 0)], found.at(k))
        return found

    def _inwards(
        self,
        x: Tensor,
        head: Tensor,
        bias: Tensor | None,
        rows: slice,
        layers: Tensor,
        found: Softmax,
        factors: Tensor,
    ) -> Iterator[tuple[int, Tensor]]:
        """From the last prefix: the summed gradients by the logits of all prefixes that share ring k."""
        g: Tensor | None = None
        for k in reversed(range(len(self.nesting))):
            if k >= self.repeated:
                layer = layers[k - self.repeated]
            else:
                layer = self._again(k, x, head, bias, layers[(self.repeated - k) % 2], found.top[k])
            self.targets.subtract_(k, layer, found.total[k], rows)
            g = layer.mul_(factors[k]) if g is None else torch.addcmul(g, layer, factors[k], out=layer)
            yield k, g

    def _again(self, k: int, x: Tensor, head: Tensor, bias: Tensor | None, out: Tensor, top: Tensor) -> Tensor:
        """exp(z_k - max z_k) of a short prefix once more, by the same sums."""
        _start(out, bias)
        for ring in self.nesting.rings()[: k + 1]:
            self.precision.add_product(out, x[:, ring], head[:, ring].T)
        return out.sub_(top).exp_()

    def _add(
        self, k: int, g: Tensor, x: Tensor, head: Tensor, rows: slice, grads: list[Tensor | None], chunks: int
    ) -> None:
        """Ring k's part of the gradients by features, head and (once, with the first ring's sum over all) bias."""
        to_x, to_head, to_bias = grads
        ring, sums = self.nesting.rings()[k], partial_sums(len(self.nesting) - k)
        if to_x is not None:
            self.precision.add_product(to_x[rows, ring], g, head[:, ring], parts=sums, fresh=True)
        if to_head is not None:
            parts, fresh = -(-sums // chunks), rows.start == 0
            self.precision.add_product(to_head[:, ring], g.T, x[rows, ring], parts=parts, fresh=fresh)
        if to_bias is not None and k == 0:
            to_bias += g.sum(0, dtype=torch.float64)


def _head_logits(nesting: Nesting, inputs: Sequence[Tensor]) -> Iterator[Tensor]:
    features, heads, biases = inputs[0], inputs[1 : 1 + len(nesting)], inputs[1 + len(nesting) :]
    for m, head, bias in zip(nesting, heads, biases, strict=True):
        yield F.linear(prefix(features, m), head, bias)


def _tied_logits(nesting: Nesting, inputs: Sequence[Tensor]) -> Iterator[Tensor]:
    features, head, bias = inputs
    z: Tensor | None = None
    for ring in nesting.rings():
        part = F.linear(features[:, ring], head[:, ring], bias if z is None else None)
        z = part if z is None else z + part
        yield z


def _recomputed(
    logits: Callable[[Nesting, Sequence[Tensor]], Iterator[Tensor]],
    nesting: Nesting,
    targets: Targets,
    c: Tensor,
    inputs: Sequence[Tensor | None],
    differentiable_parts: bool,
) -> NestedLoss:
    """The plain autograd form: logits are not kept but computed again in the backward pass."""

    def parts_of(*tensors: Tensor) -> Tensor:
        return torch.stack([targets.loss(k, z) for k, z in enumerate(logits(nesting, tensors))])

    parts = checkpoint(parts_of, *inputs, use_reentrant=False)
    total = torch.tensordot(c.to(parts.dtype), parts, dims=1)
    return NestedLoss(total, parts if differentiable_parts else parts.detach())


def _check_heads(heads: Sequence[Tensor], biases: Sequence[Tensor] | None, nesting: Nesting) -> None:
    for param, given in (("head_weights", heads), ("head_biases", biases)):
        if given is not None and len(given) != len(nesting):
            raise ShapeError.of(param, f"one per dim ({len(nesting)})", len(given))
    for m, head in zip(nesting, heads, strict=True):
        if head.shape[-1] != m:
            raise ShapeError.of("head_weights", f"{m} wide at prefix {m}", f"shape {tuple(head.shape)}")


def _targets(
    features: Tensor,
    labels: Tensor,
    nesting: Nesting,
    head: Tensor,
    c: Tensor,
    smoothing: float | Sequence[float],
    ignore_index: int,
    reduction: str,
) -> Targets:
    nesting.check(features, "features")
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        got = f"labels {tuple(labels.shape)} for features {tuple(features.shape)}"
        raise ShapeError.of("labels", "one per row of features (b, d)", got)
    return Targets.of(
        labels,
        len(head),
        smoothing=smoothing,
        prefixes=len(nesting),
        ignore_index=ignore_index,
        reduction=reduction,
        dtype=c.dtype,
    )


def _start(z: Tensor, bias: Tensor | None) -> Tensor:
    """Logits before the first product: the bias, or zero."""
    return z.zero_() if bias is None else z.copy_(bias.detach().expand_as(z))


def _fresh_grads(inputs: Sequence[Any], wanted: Sequence[bool], precision: Precision) -> list[Tensor | None]:
    """Room for the gradients: of matrices unwritten (the first product fills them), of biases zero (sums are added)."""
    empty = len(inputs[0]) > 0
    return [
        None if not want else (torch.empty_like if empty and t.ndim == 2 else torch.zeros_like)(t, dtype=precision.add)
        for t, want in zip(inputs, wanted, strict=True)
    ]


def _in_dtypes(grads: list[Tensor | None], inputs: Sequence[Any]) -> list[Tensor | None]:
    return [None if g is None else g.to(t.dtype) for g, t in zip(grads, inputs, strict=True)]
