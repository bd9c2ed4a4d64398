"""The target side of cross-entropy: labels, smoothing, ignored rows and the reduction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nestling.errors import InputError, ShapeError


class Softmax(NamedTuple):
    """Of each row of logits: the wished logit, the largest, and the sum of the exponentials below it; (…, B, 1)."""

    wished: Tensor
    top: Tensor
    total: Tensor

    @classmethod
    def room(cls, like: Tensor, *shape: int) -> Softmax:
        """Unwritten room for rows of this shape."""
        return cls(*like.new_empty((3, *shape, 1)).unbind())

    def at(self, k: int) -> Softmax:
        """That of the k-th prefix."""
        return Softmax(self.wished[k], self.top[k], self.total[k])


@dataclass(frozen=True, slots=True)
class Targets:
    """What each row of logits should say.

    Attributes:
        labels: (b, 1) classes; 0 at ignored rows.
        kept: (b, 1) one, or zero at ignored rows.
        scale: what a sum over rows is multiplied with: 1/kept rows for the mean, else 1.
        smoothing: one per prefix.
        classes, ignore_index, reduction: as in `torch.nn.functional.cross_entropy`.
    """

    labels: Tensor
    kept: Tensor
    scale: Tensor
    classes: int
    smoothing: tuple[float, ...]
    ignore_index: int
    reduction: str

    @classmethod
    def of(
        cls,
        labels: Tensor,
        classes: int,
        *,
        smoothing: float | Sequence[float],
        prefixes: int,
        ignore_index: int,
        reduction: str,
        dtype: torch.dtype,
    ) -> Targets:
        """Check the labels and prepare them.

        Args:
            smoothing: of all prefixes, or one for each.

        Raises:
            ShapeError: labels are not one per row, or smoothings not one per prefix.
            InputError: a label outside 0 … c-1 (seen on the CPU; a GPU asserts), an unknown reduction, smoothing
                outside 0 … 1.
        """
        if labels.ndim != 1:
            raise ShapeError.of("labels", "one class per row, shape (b,)", f"shape {tuple(labels.shape)}")
        if reduction not in ("mean", "sum", "none"):
            raise InputError.of("reduction", "'mean', 'sum' or 'none'", repr(reduction))
        each = (smoothing,) * prefixes if isinstance(smoothing, int | float) else tuple(smoothing)
        if len(each) != prefixes:
            raise ShapeError.of("label_smoothing", f"one number, or one per dim ({prefixes})", len(each))
        if not all(0.0 <= one <= 1.0 for one in each):
            raise InputError.of("label_smoothing", "between 0 and 1", smoothing)
        kept = labels != ignore_index
        known = torch.where(kept, labels, 0)
        if labels.device.type == "cpu" and len(labels) and not 0 <= int(known.min()) <= int(known.max()) < classes:
            raise InputError.of(
                "labels",
                f"classes 0 … {classes - 1}",
                f"{int(known.min())} … {int(known.max())}",
                "Check the head.",
            )
        weight = kept.to(dtype)
        scale = weight.sum().reciprocal() if reduction == "mean" else torch.ones_like(weight.sum())
        return cls(known[:, None], weight[:, None], scale, classes, each, ignore_index, reduction)

    def exponentials(self, k: int, z: Tensor, rows: slice, out: Tensor, found: Softmax) -> None:
        """``out = exp(z - max z)`` of the k-th prefix's logits `z` (B, c), and into `found` what their loss needs.

        `out` may be `z`.
        """
        torch.gather(z, 1, self.labels[rows], out=found.wished)
        if self.smoothing[k]:
            found.wished.lerp_(z.mean(1, keepdim=True), self.smoothing[k])
        torch.amax(z, 1, keepdim=True, out=found.top)
        torch.sum(torch.sub(z, found.top, out=out).exp_(), 1, keepdim=True, out=found.total)

    def summed_loss(self, found: Softmax, rows: slice) -> Tensor:
        """The losses of the kept rows, summed over the rows: one per leading index of `found`."""
        return ((found.total.log() + found.top - found.wished) * self.kept[rows]).sum((-2, -1))

    def subtract_(self, k: int, exponentials: Tensor, total: Tensor, rows: slice) -> None:
        """``exponentials -= total · target``: what is left is the gradient times `total`.

        Before the division, not after it: at the label both are large and nearly equal.
        """
        exponentials.scatter_add_(1, self.labels[rows], total * (self.smoothing[k] - 1))
        if self.smoothing[k]:
            exponentials.sub_(total * (self.smoothing[k] / self.classes))

    def loss(self, k: int, z: Tensor) -> Tensor:
        """Plain cross-entropy of the k-th prefix's logits `z` (b, c): differentiable, reduced as asked."""
        labels = torch.where(self.kept.bool(), self.labels, self.ignore_index)[:, 0]
        return F.cross_entropy(
            z,
            labels,
            label_smoothing=self.smoothing[k],
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )
