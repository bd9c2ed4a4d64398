"""Batch norms that see the batch of all processes, so that a batch gives the same loss however it is shared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from nestling.errors import InputError

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def shared_norms(model: nn.Module, processes: int) -> Iterator[None]:
    """While it lasts, batch norms in training take mean and variance over all processes, which hold equal shares."""
    norms = [each for each in model.modules() if type(each) in _KINDS] if processes > 1 else []
    kinds = [type(norm) for norm in norms]
    try:
        for norm in norms:
            norm.__class__ = _Shared
        yield
    finally:
        for norm, kind in zip(norms, kinds, strict=True):
            norm.__class__ = kind


def check_norms(model: nn.Module, batch: int) -> None:
    """Refuse to normalise a batch of one sample by itself.

    Raises:
        InputError: a batch norm is trained, and `batch` is 1.
    """
    if batch < 2 and any(isinstance(each, _BatchNorm) and _is_trained(each) for each in model.modules()):
        raise InputError.of("batch_size", "at least 2 in each part for an encoder with batch norms", batch)


class _Shared(_BatchNorm):
    """In evaluation like any other, but of inputs of any shape."""

    def forward(self, input: Float[Tensor, "b ch ..."]) -> Float[Tensor, "b ch ..."]:
        if not self.training:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        # Exact sums of a process, and their combination in double precision: squares of large means cancel.
        variance, mean = (each.double() for each in torch.var_mean(input.float(), dim=axes, correction=0))
        mean, square = _Sum.apply(torch.stack([mean, variance + mean**2])) / dist.get_world_size()
        variance = square - mean**2
        self._remember(mean, variance, dist.get_world_size() * input.numel() // input.shape[1])
        scale = (variance + self.eps).rsqrt().float() * self.weight
        shape = [1, -1, *[1] * (input.ndim - 2)]
        shift = self.bias - mean.float() * scale
        return (input.float() * scale.view(shape) + shift.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        part = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), part)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), part)


class _Sum(torch.autograd.Function):
    """Over the processes, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _Sum.forward(ctx, grads[0].contiguous())


def _is_trained(norm: _BatchNorm) -> bool:
    return norm.weight is not None and norm.weight.requires_grad
