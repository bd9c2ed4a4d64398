"""A compact residual convolutional network for images of 28–64 pixels, made to train in minutes on a CPU."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.utils import skip_init

from nestling.errors import InputError, ShapeError
from nestling.models.encoders.registry import Encoder

ENDINGS = ("projection", "pooled", "linear")
_WIDEST = 16_384  # a lying configuration must not be able to ask for more memory than any machine has


class ResidualEncoder(Encoder):
    """Images (b, channels, h, w) to features (b, width): stem, stages, pooling, and what `ending` says.

    The stem is a 5×5 convolution of stride 2 (larger pictures are halved once more), since all the cost
    lies where the maps are large. Weights are stored channels-last, the faster order for convolutions on CPUs and GPUs.

    Args:
        width: d, the features' width.
        channels: 1 for grey images, 3 for colour.
        size: the side of the images in pixels, 8 … 128.
        stages: channels of each stage; every stage after the first halves the maps.
        ending: "projection", a linear map and a batch norm (features of both signs, as cosine search wants them);
            "pooled", nothing, as in the paper (as wide as the last stage, none negative); "linear", a linear map with
            a bias, which is what `rotated` leaves.
        mean, std: of the training images' values scaled to 0 … 1, over all channels.
        generator: draws the first weights; torch's own when left out.

    Raises:
        InputError: an argument is out of range.
    """

    name: ClassVar[str] = "residual"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        width: int = 512,
        *,
        channels: int = 1,
        size: int = 28,
        stages: Sequence[int] = (32, 64, 128),
        ending: str = "projection",
        mean: float = 0.286,
        std: float = 0.353,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        stages = tuple(stages)
        _check(width, channels, size, stages, std)
        _check_ending(ending, width, stages[-1])
        self.width = width
        self.config = {
            "width": width,
            "channels": channels,
            "size": size,
            "stages": list(stages),
            "ending": ending,
            "mean": mean,
            "std": std,
        }
        self.register_buffer("mean", torch.tensor(255.0 * mean))
        self.register_buffer("std", torch.tensor(255.0 * std))
        self.shrink = nn.MaxPool2d(2) if size > 40 else nn.Identity()
        self.stem = _ConvNorm(channels, stages[0], kernel=5, stride=2, padding=2)
        self.stages = nn.Sequential(*_stages(stages, (size + 1) // 2 if size <= 40 else (size // 2 + 1) // 2))
        pooled, linear = ending == "pooled", ending == "linear"
        self.out = nn.Identity() if pooled else skip_init(nn.Linear, stages[-1], width, bias=linear)
        self.norm = nn.BatchNorm1d(width) if ending == "projection" else nn.Identity()
        self._draw(generator)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  its stub forgets this form

    def forward(self, inputs: UInt8[Tensor, "b ch h w"] | Float[Tensor, "b ch h w"]) -> Float[Tensor, "b {self.width}"]:
        """Features of a batch of images: bytes 0 … 255, or floats 0 … 1.

        Raises:
            ShapeError: the images are not (b, channels, size, size).
        """
        side = self.config["size"]
        if inputs.ndim != 4 or tuple(inputs.shape[1:]) != (self.config["channels"], side, side):
            wanted = f"(b, {self.config['channels']}, {side}, {side})"
            raise ShapeError.of("images", wanted, f"shape {tuple(inputs.shape)}", "Resize them.")
        maps = self.shrink(self.stem(self._normalised(inputs)))
        return self.norm(self.out(self.stages(maps).mean(dim=(2, 3))))

    def last_block(self) -> tuple[nn.Module, ...]:
        """The last stage, and the map behind it."""
        return (self.stages[-1], self.out, self.norm)

    @torch.no_grad()
    def rotated(self, rotation: Float[Tensor, "d d"]) -> ResidualEncoder:
        """An encoder whose features are R · f(x) in evaluation mode; R goes into the last linear map."""
        if rotation.shape != (self.width, self.width):
            raise ShapeError.of("rotation", f"({self.width}, {self.width})", f"shape {tuple(rotation.shape)}")
        turned = ResidualEncoder(**{**self.config, "ending": "linear"})
        weight, bias = self._last_map()
        own = {name: t for name, t in self.state_dict().items() if not name.startswith(("out.", "norm."))}
        last = {"out.weight": rotation.double() @ weight, "out.bias": rotation.double() @ bias}
        turned.load_state_dict(own | {name: t.to(self.mean.dtype) for name, t in last.items()})
        turned.to(self.mean.device).train(self.training)
        return turned

    def _last_map(self) -> tuple[Float[Tensor, "d s"], Float[Tensor, " d"]]:
        """The weight and bias, in float64, that lead from the pooled maps to the features."""
        if not isinstance(self.out, nn.Linear):
            eye = torch.eye(self.width, dtype=torch.float64, device=self.mean.device)
            return eye, eye.new_zeros(self.width)
        weight = self.out.weight.double()
        if not isinstance(self.norm, nn.BatchNorm1d):
            return weight, self.out.bias.double()
        mean, var = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert var is not None
        scale = self.norm.weight.double() / (var.double() + self.norm.eps).sqrt()
        return scale[:, None] * weight, self.norm.bias.double() - scale * mean.double()

    def _normalised(self, images: Tensor) -> Tensor:
        # Bytes go straight to floats of scale 255: one pass fewer than to 0 … 1 first.
        scaled = images.float() if images.dtype == torch.uint8 else images * 255
        return ((scaled - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _draw(self, generator: torch.Generator | None) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                # torch's own bound. A norm follows each, so the scale only sets how fast a rate turns the weights.
                bound = 1 / math.sqrt(module.weight[0].numel())
                module.weight.uniform_(-bound, bound, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()


class _ConvNorm(nn.Module):
    """Convolution, batch norm, rectifier."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> None:
        super().__init__()
        self.conv = skip_init(nn.Conv2d, inputs, outputs, kernel, stride=stride, padding=padding, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class _Stage(nn.Module):
    """Halve the maps, then one residual block of two convolutions (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, *, padding: int) -> None:
        super().__init__()
        self.down = _ConvNorm(inputs, outputs, stride=2, padding=padding)
        self.first = _ConvNorm(outputs, outputs)
        self.second = skip_init(nn.Conv2d, outputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        nn.init.zeros_(self.norm.weight)  # the block begins as the identity: a high rate is safe from the start

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return F.relu(x + self.norm(self.second(self.first(x))))


def _stages(widths: tuple[int, ...], side: int) -> Iterator[_Stage]:
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        # For 28 pixels the last maps are 3×3 instead of 4×4: a tenth of all time, no accuracy that we could see.
        padding = 0 if i == len(widths) - 2 and side >= 3 else 1
        yield _Stage(inputs, outputs, padding=padding)
        side = (side + 2 * padding - 3) // 2 + 1


def _check(width: int, channels: int, size: int, stages: tuple[int, ...], std: float) -> None:
    for param, value, low, high in (
        ("width", width, 1, _WIDEST),
        ("channels", channels, 1, 64),
        ("size", size, 8, 128),
        *(("stages", c, 1, 2048) for c in stages),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InputError.of(param, f"a whole number from {low} to {high}", repr(value))
    if not 2 <= len(stages) <= 6:
        raise InputError.of("stages", "between two and six", len(stages))
    if not std > 0:
        raise InputError.of("std", "positive", std)


def _check_ending(ending: str, width: int, last_stage: int) -> None:
    if ending not in ENDINGS:
        raise InputError.of("ending", f"one of {', '.join(ENDINGS)}", repr(ending))
    if ending == "pooled" and width != last_stage:
        raise InputError.of("width", f"the {last_stage} channels of the last stage, which are pooled", width)
