"""Two encoders that meet: images and texts as nested vectors of one space (ALIGN; Kusupati et al. 2022, §4)."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from nestling.errors import InputError
from nestling.losses import NestedLoss, contrastive
from nestling.models.encoders import Encoder
from nestling.models.encoding import encode_all
from nestling.nesting import Nesting

_FIRST, _SHARPEST = 0.07, 0.01  # temperatures: the first, and the lowest that training may reach (as CLIP's 1/100)
LEAST_LOG_TEMPERATURE = math.log(_SHARPEST)
"""What training keeps `DualEncoder.log_temperature` from falling below: the number itself and not what is made of it,
whose gradient would then be zero, or would lead it ever lower."""


class DualEncoder(nn.Module):
    """An image and a text encoder, each with a linear map to the nesting's width, and a learnt temperature.

    Args:
        image: reads pictures; text: reads token ids. Both become part of the model.
        nesting: the prefixes; its width is that of the common space.
        generator: draws the maps' first weights; torch's own when left out.
        temperature: τ to begin with.

    Raises:
        InputError: the temperature is below .01.
    """

    def __init__(
        self,
        image: Encoder,
        text: Encoder,
        nesting: Nesting,
        *,
        generator: torch.Generator | None = None,
        temperature: float = _FIRST,
    ) -> None:
        super().__init__()
        if not temperature >= _SHARPEST:
            raise InputError.of("temperature", f"at least {_SHARPEST}", temperature)
        self.image, self.text, self.nesting = image, text, nesting
        self.image_map = _map(image.width, nesting.width, generator)
        self.text_map = _map(text.width, nesting.width, generator)
        self.log_temperature = nn.Parameter(torch.tensor([math.log(temperature)]))

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """τ, by which cosines are divided."""
        return self.log_temperature.exp().squeeze(0)

    def images(self, images: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        """Vectors of pictures; they are not normalised, since each prefix has a norm of its own."""
        return self.image_map(self.image(images))

    def texts(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        """Vectors of texts."""
        return self.text_map(self.text(ids))

    def loss(
        self,
        images: Shaped[Tensor, "b ..."],
        ids: Int[Tensor, "b t"],
        *,
        weights: Float[Tensor, " k"] | None = None,
        groups: Int[Tensor, " b"] | None = None,
    ) -> NestedLoss:
        """The nested symmetric InfoNCE of pictures and their captions (`losses.contrastive`).

        Args:
            groups: pairs of the same number are not held against one another, such as equal captions.
        """
        x, y = self.images(images), self.texts(ids)
        return contrastive(x, y, self.nesting, self.temperature, weights=weights, groups=groups)

    def encode_images(
        self, images: Shaped[np.ndarray, "n ..."] | Shaped[Tensor, "n ..."], *, batch_size: int = 500
    ) -> Float[np.ndarray, "n d"]:
        """Vectors of many pictures as float32, in evaluation mode."""
        return encode_all(self, self.images, images, batch_size=batch_size, width=self.nesting.width)

    def encode_texts(
        self, ids: Int[np.ndarray, "n t"] | Int[Tensor, "n t"], *, batch_size: int = 500
    ) -> Float[np.ndarray, "n d"]:
        """Vectors of many texts as float32, in evaluation mode."""
        return encode_all(self, self.texts, ids, batch_size=batch_size, width=self.nesting.width)


def _map(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    found = nn.Linear(inputs, outputs, bias=False)
    with torch.no_grad():
        found.weight.normal_(0, inputs**-0.5, generator=generator)
    return found
