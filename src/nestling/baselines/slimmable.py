"""Slimmable networks (Yu et al. 2019): one network that runs at four widths, each with batch norms of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int, Int64, Shaped, UInt8
from torch import Tensor, nn

from nestling.baselines.base import Baseline, check_dim, check_pair
from nestling.errors import InputError, ShapeError
from nestling.losses import NestedLoss
from nestling.models import NestedLinear, ResidualEncoder
from nestling.nesting import Nesting, prefix
from nestling.training import ArrayFeed, Objective, Progress, TrainConfig, fit

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the channels, as published


class SlimmableNet(nn.Module):
    """An encoder whose convolutions run with the first part of their channels, and a classifier that is sliced.

    Attributes:
        nesting: how wide the features are at each share.
        head: W (c, d) and bias; a width reads its first columns.

    Args:
        encoder: one that pools its last convolution; becomes part of the net, its batch norms are replaced.
        classes: c.
        shares: of the channels, ascending, the last 1.
        generator: draws the classifier's first weights.

    Raises:
        InputError: the encoder does not end pooled, or the shares are not such.
    """

    def __init__(
        self,
        encoder: ResidualEncoder,
        classes: int,
        *,
        shares: Sequence[float] = SHARES,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if encoder.config["ending"] != "pooled":
            raise InputError.of("encoder", "one that ends pooled", encoder.config["ending"])
        if list(shares) != sorted(set(shares)) or shares[0] <= 0 or shares[-1] != 1:
            raise InputError.of("shares", "ascending up to 1", tuple(shares))
        self.nesting = Nesting(tuple(_part(encoder.width, share) for share in shares))
        self._width = _Width(1.0)
        _make_slimmable(encoder, tuple(shares), self._width)
        self._shares = dict(zip(self.nesting, shares, strict=True))
        self.encoder = encoder
        self.head = NestedLinear(self.nesting, classes, tied=True, generator=generator)

    def forward(self, images: Shaped[Tensor, "b ..."], width: int) -> Float[Tensor, "b {width}"]:
        """Features of one of the widths of the nesting, by the part of the network that makes them."""
        self._width.share = self._shares[width]
        self.encoder.width = width  # what it promises to give
        return self.encoder(images)


class SlimmableObjective(Objective):
    """The sum of the cross-entropies of all widths, each from a pass of its own, as published."""

    def __init__(self, net: SlimmableNet) -> None:
        super().__init__()
        self.net, self.nesting = net, net.nesting

    def forward(
        self, inputs: Shaped[Tensor, "b ..."], targets: Int[Tensor, " b"], weights: Float[Tensor, " k"] | None = None
    ) -> NestedLoss:
        """The loss of a batch of images and labels."""
        logits = [self.net.head.logits(self.net(inputs, m), m) for m in self.nesting]
        smoothing = torch.as_tensor(self.label_smoothing).expand(len(logits)).tolist()
        each = zip(logits, smoothing, strict=True)
        parts = torch.stack([F.cross_entropy(z, targets, label_smoothing=one) for z, one in each])
        return NestedLoss(parts.sum() if weights is None else (weights * parts).sum(), parts.detach())


class Slimmable(Baseline):
    """Features of dim m by the narrowest width that has them, cut to m where it has more.

    Below the narrowest width that is a plain cut. It alone of all baselines saves backbone FLOPs.

    Args:
        build: makes an encoder that ends pooled, from a generator.
        config: how the net is trained.
        shares: of the channels.
        folder: where the run goes, resumed when there; nothing is written without one.
        progress: told of each step, as in `training.fit`.
    """

    name: ClassVar[str] = "slimmable"

    def __init__(
        self,
        build: Callable[[torch.Generator], ResidualEncoder],
        config: TrainConfig,
        *,
        shares: Sequence[float] = SHARES,
        folder: Path | str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.build, self.config, self.shares = build, config, tuple(shares)
        self.folder, self.progress = folder, progress
        self._net: SlimmableNet | None = None

    def fit(self, x: UInt8[np.ndarray, "n ch h w"], labels: Int64[np.ndarray, " n"]) -> Slimmable:
        """Train all widths together.

        Raises:
            ShapeError: not one label per image.
        """
        check_pair(x, labels)
        generator = torch.Generator().manual_seed(self.config.seed)
        net = SlimmableNet(self.build(generator), int(labels.max()) + 1, shares=self.shares, generator=generator)
        folder, objective = self.folder, SlimmableObjective(net)
        fit(
            objective,
            ArrayFeed(x, labels),
            self.config,
            folder=folder,
            resume=folder is not None,
            progress=self.progress,
        )
        self._net, self._shape = net.eval(), x.shape[1:]
        return self

    @property
    def net(self) -> SlimmableNet:
        """The trained net.

        Raises:
            InputError: not fitted.
        """
        if self._net is None:
            raise InputError.of("the baseline", "fitted", "one that is not", "Call fit first.")
        return self._net

    def width(self, dim: int) -> int:
        """The narrowest width with that many features.

        Raises:
            InputError: not fitted, or `dim` is out of range.
        """
        check_dim(dim, self.net.nesting.width)
        return next(m for m in self.net.nesting if m >= dim)

    @torch.inference_mode()
    def encode(self, x: UInt8[np.ndarray, "n ch h w"], dim: int) -> Float32[np.ndarray, "n {dim}"]:
        """The features of the width of this dim, cut."""
        width, net = self.width(dim), self.net
        if x.shape[1:] != self._shape:
            raise ShapeError.of("x", f"images of shape {self._shape}", f"shape {x.shape}")
        device = next(net.parameters()).device
        parts = [
            prefix(net(torch.from_numpy(np.array(x[i : i + 1000])).to(device), width), dim).float().cpu().numpy()
            for i in range(0, len(x), 1000)
        ]
        return np.concatenate(parts) if parts else np.empty((0, dim), np.float32)

    @torch.inference_mode()
    def predict(self, x: UInt8[np.ndarray, "n ch h w"], dim: int) -> Int64[np.ndarray, " n"]:
        """By the first columns of the classifier that all widths share."""
        features = torch.from_numpy(self.encode(x, dim))
        width = self.net.nesting.width
        weight, bias = self.net.head.weight_at(width).cpu(), self.net.head.bias_at(width)
        assert bias is not None
        return F.linear(features, prefix(weight, dim), bias.cpu()).argmax(dim=1).numpy()


@dataclass(slots=True)
class _Width:
    """The share of the channels at which the whole net runs just now."""

    share: float


class _SlimConv(nn.Module):
    """The first channels out of a convolution, from as many channels as come in."""

    def __init__(self, conv: nn.Conv2d, width: _Width) -> None:
        super().__init__()
        self.conv, self.width = conv, width

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight[: _part(self.conv.out_channels, self.width.share), : x.shape[1]]
        return F.conv2d(x, weight, stride=self.conv.stride, padding=self.conv.padding)


class _SwitchableNorm(nn.Module):
    """A batch norm for each width, its statistics never shared."""

    def __init__(self, norm: nn.BatchNorm2d, shares: Sequence[float], width: _Width) -> None:
        super().__init__()
        self.width, self._places = width, {share: place for place, share in enumerate(shares)}
        norms = [nn.BatchNorm2d(_part(norm.num_features, share)) for share in shares]
        with torch.no_grad():
            for own in norms:
                own.weight.copy_(norm.weight[: own.num_features])
        self.norms = nn.ModuleList(norms)

    def forward(self, x: Tensor) -> Tensor:
        norm: nn.Module = self.norms[self._places[self.width.share]]
        return norm(x)


def _make_slimmable(module: nn.Module, shares: tuple[float, ...], width: _Width) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, _SlimConv(child, width))
        elif isinstance(child, nn.BatchNorm2d):
            setattr(module, name, _SwitchableNorm(child, shares, width))
        else:
            _make_slimmable(child, shares, width)


def _part(channels: int, share: float) -> int:
    return max(int(channels * share), 1)
