"""The towers of ALIGN (Jia et al. 2021) as `transformers` has them: an EfficientNet, and a BERT with a projection."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import skip_init

from nestling.errors import InputError
from nestling.models.encoders.architecture import FREE, network, preprocessing, pretrained
from nestling.models.encoders.backbone import Backbone
from nestling.models.encoders.text import checked_ids
from nestling.models.encoders.vision import PictureBackbone

PROJECTION = 640
"""Numbers that the text tower of the released model gives, as many as its image tower."""
EFFICIENTNETS: dict[str, dict[str, Any]] = {
    name: {"width_coefficient": width, "depth_coefficient": depth, "batch_norm_momentum": 0.01}
    for name, width, depth in (
        ("efficientnet-b0", 1.0, 1.0),
        ("efficientnet-b3", 1.2, 1.4),
        ("efficientnet-b7", 2.0, 3.1),
    )
}
"""Tan & Le 2019: 320, 384 and 640 features.

The configuration's own momentum, .99, is TensorFlow's: to torch it says that only the last batch counts.
"""


class AlignImageEncoder(PictureBackbone):
    """An EfficientNet of `transformers`, without the convolution behind its blocks; its last maps pooled.

    Args:
        architecture: one of `EFFICIENTNETS`, or fields of an `AlignVisionConfig`.
        mean, std, ending, generator: as of `ResNetEncoder`.

    Raises:
        InputError: no such architecture.
        MissingExtraError: `transformers` is not installed.
    """

    name: ClassVar[str] = "align-image"

    def __init__(
        self,
        architecture: str | Mapping[str, Any] = "efficientnet-b7",
        *,
        mean: Sequence[float] | float = 0.5,
        std: Sequence[float] | float = 0.5,
        ending: str = "pooled",
        generator: torch.Generator | None = None,
        _network: nn.Module | None = None,
    ) -> None:
        if isinstance(architecture, str) and architecture not in EFFICIENTNETS:
            raise InputError.of("architecture", f"one of {', '.join(EFFICIENTNETS)}, or fields", repr(architecture))
        fields = dict(EFFICIENTNETS[architecture] if isinstance(architecture, str) else architecture)
        net = _network or network("AlignVisionConfig", "AlignVisionModel", fields, generator)
        about, last = cast(Any, net.config), cast(Any, net).encoder.blocks[-1]
        super().__init__(
            net,
            last.projection.project_bn.num_features,
            ending,
            {"architecture": fields},
            channels=about.num_channels,
            mean=mean,
            std=std,
            smallest=2 * math.prod(about.strides),
        )
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  its stub forgets this form

    @classmethod
    def from_pretrained(cls, source: Path | str) -> AlignImageEncoder:
        """With the weights of a whole `AlignModel` that `transformers` saved, or of a name of the model hub.

        Raises:
            InputError, CheckpointError, MissingExtraError: as of `architecture.pretrained`.
        """
        return pretrained_towers(source).image

    def last_block(self) -> tuple[nn.Module, ...]:
        """The last block."""
        return (cast(Any, self.network).encoder.blocks[-1], self.out)

    def pooled(self, inputs: Tensor) -> Float[Tensor, "b d"]:
        """The mean of the last maps (their maximum, if the architecture says so)."""
        return self.network(pixel_values=self.normalised(inputs)).pooler_output


class AlignTextEncoder(Backbone):
    """Token ids (b, t) to features: the first token of the last layer, projected.

    Args:
        architecture: fields of an `AlignTextConfig`, which is a BERT-base where they say nothing.
        projection: d, numbers of a feature.
        ending, generator: as of `BertEncoder`.

    Raises:
        InputError: no such architecture.
        MissingExtraError: `transformers` is not installed.
    """

    name: ClassVar[str] = "align-text"

    def __init__(
        self,
        architecture: Mapping[str, Any] | None = None,
        *,
        projection: int = PROJECTION,
        ending: str = "pooled",
        generator: torch.Generator | None = None,
        _network: _Projected | None = None,
    ) -> None:
        fields = dict(architecture or {})
        if not 1 <= projection <= 1 << 14:
            raise InputError.of("projection", f"from 1 to {1 << 14}", projection)
        net = _network or _Projected(
            network("AlignTextConfig", "AlignTextModel", fields, generator, add_pooling_layer=False),
            projection,
            generator,
        )
        super().__init__(net, projection, ending, {"architecture": fields, "projection": projection})
        about = cast(Any, net.text.config)
        self._longest, self._words, self.padding = (
            about.max_position_embeddings,
            about.vocab_size,
            about.pad_token_id or 0,
        )

    @classmethod
    def from_pretrained(cls, source: Path | str) -> AlignTextEncoder:
        """As `AlignImageEncoder.from_pretrained`."""
        return pretrained_towers(source).text

    def last_block(self) -> tuple[nn.Module, ...]:
        """The last layer, and the projection behind it."""
        net = cast(_Projected, self.network)
        return (cast(Any, net.text).encoder.layer[-1], net.projection, self.out)

    def pooled(self, inputs: Int[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        """One vector per text; errors as of `BertEncoder.pooled`."""
        ids = checked_ids(inputs, longest=self._longest, words=self._words)
        return self.network(ids, ids != self.padding)


class Towers(NamedTuple):
    """Of one `AlignModel`, with its temperature."""

    image: AlignImageEncoder
    text: AlignTextEncoder
    temperature: float


def pretrained_towers(source: Path | str) -> Towers:
    """Both towers of an `AlignModel` that `transformers` saved, or of a name of the model hub, in evaluation mode.

    Raises:
        InputError, CheckpointError, MissingExtraError: as of `architecture.pretrained`.
    """
    found = cast(Any, pretrained({"align": "AlignModel"}, source).network)
    vision, text = found.vision_model, found.text_model
    text.pooler = None  # `get_text_features` does not ask it, and what has no gradient stops several processes
    projected = _Projected(text, found.text_projection.out_features)
    projected.projection.load_state_dict(found.text_projection.state_dict())
    width = found.text_projection.out_features
    return Towers(
        AlignImageEncoder(_fields(vision.config), **_seen(source), _network=vision).eval(),
        AlignTextEncoder(_fields(text.config), projection=width, _network=projected).eval(),
        found.temperature.item(),
    )


class _Projected(nn.Module):
    """A text network, and the projection of its first token."""

    def __init__(self, text: nn.Module, width: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        inputs = cast(Any, text.config).hidden_size
        self.text, self.projection = text, cast(nn.Linear, skip_init(nn.Linear, inputs, width))
        bound = math.sqrt(6 / (inputs + width))  # Glorot's, as `transformers` draws it
        with torch.no_grad():
            self.projection.weight.uniform_(-bound, bound, generator=generator)
            self.projection.bias.zero_()

    def forward(self, ids: Int[Tensor, "b t"], mask: Tensor) -> Float[Tensor, "b d"]:
        return self.projection(self.text(input_ids=ids, attention_mask=mask.long()).last_hidden_state[:, 0])


def _fields(config: Any) -> dict[str, Any]:
    kept = {name: value for name, value in config.to_diff_dict().items() if name not in FREE}
    return json.loads(json.dumps(kept, default=str))


def _seen(source: Path | str) -> dict[str, Any]:
    """Mean and spread by which the model's pictures are normalised; ±1 where its folder tells nothing.

    EfficientNet's processors scale by 1/127.5, subtract 1 and only then look at mean and spread.
    """
    found = preprocessing(source)
    if "rescale_factor" not in found:
        return {}
    factor, offset = 255 * float(found["rescale_factor"]), float(bool(found.get("rescale_offset")))
    normalised = bool(found.get("do_normalize")) and {"image_mean", "image_std"} <= set(found)
    means, stds = (found["image_mean"], found["image_std"]) if normalised else ([0.0] * 3, [1.0] * 3)
    return {"mean": [(mean + offset) / factor for mean in means], "std": [std / factor for std in stds]}
