"""Losses whose gradients are formed in the forward pass, while the logits are at hand.

A loss needs its logits twice: for its value and for its gradient. Kept for the backward pass they cost K·b·c numbers;
formed at once, chunk by chunk, they cost one chunk. The backward pass then only hands the gradients over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nestling.losses.result import NestedLoss

Form = Callable[[Sequence[Any], Tensor, Sequence[bool]], tuple[Tensor, list[Tensor | None]]]
"""(inputs, tensors or None; c_m (K,); which gradients are wanted) → (per_dim (K,), a gradient of Σ c_m L_m each)."""


def formed_loss(form: Form, c: Tensor, inputs: Sequence[Tensor | None]) -> NestedLoss:
    """Run `form` now and let autograd take its gradients later; the gradient to `c` is ``per_dim``."""
    wanted: list[bool] = [torch.is_grad_enabled() and t is not None and t.requires_grad for t in inputs]
    total, per_dim = (_uncompiled() if torch.compiler.is_compiling() else _call)(form, wanted, c, inputs)
    return NestedLoss(total=total, per_dim=per_dim)


def _call(form: Form, wanted: list[bool], c: Tensor, inputs: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    return cast(tuple[Tensor, Tensor], _Formed.apply(form, wanted, c, *inputs))


def _uncompiled() -> Callable[..., tuple[Tensor, Tensor]]:
    """`_call`, at which a compiled caller breaks its graph: the chunk loop is written for the eager kernels.

    Not a decorator: it imports the compiler, two seconds for everybody who compiles nothing.
    """
    return cast(Callable[..., tuple[Tensor, Tensor]], torch.compiler.disable(_call))


class _Formed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, form: Form, wanted: list[bool], c: Tensor, *inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        per_dim, grads = form(inputs, c, wanted)
        ctx.form, ctx.wanted, ctx.grads = form, wanted, grads
        ctx.save_for_backward(c, per_dim, *inputs)
        ctx.mark_non_differentiable(per_dim)
        return torch.dot(c, per_dim), per_dim

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  (torch passes ctx by position)
        ctx: Any, scale: Tensor, _: Tensor
    ) -> tuple[Tensor | None, ...]:
        c, per_dim, *inputs = ctx.saved_tensors
        # Given away, not kept: autograd then takes the buffers themselves instead of copies.
        grads, ctx.grads = ctx.grads, None
        if grads is None:  # backward through the same graph once more (retain_graph=True)
            _, grads = ctx.form(inputs, c, ctx.wanted)
        if scale.device.type != "cpu" or scale.item() != 1.0:  # reading it would stall a GPU
            grads = [None if g is None else g.mul_(scale) for g in grads]
        to_c = per_dim * scale if ctx.needs_input_grad[2] else None
        return (None, None, to_c, *grads)
