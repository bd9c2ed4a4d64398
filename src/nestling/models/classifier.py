"""A classifier: an encoder and a nested head on its features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from nestling.errors import InputError
from nestling.losses import NestedLoss
from nestling.models.encoders import Encoder
from nestling.models.encoding import encode_all
from nestling.models.heads import NestedLinear
from nestling.nesting import prefix


class Classifier(nn.Module):
    """An encoder with a nested head.

    The head may be narrower than the encoder: then the features are the encoder's first numbers, which is the
    fixed-feature baseline (FF) of the paper at that width, on the same backbone.

    Args:
        encoder: images to features (b, width).
        head: the classifiers on the prefixes.
        classes: the names of the classes; "0", "1", … when left out.

    Raises:
        InputError: the head is wider than the encoder, or the names are not one per class, each once.
    """

    def __init__(self, encoder: Encoder, head: NestedLinear, *, classes: Sequence[str] = ()) -> None:
        super().__init__()
        if head.nesting.width > encoder.width:
            raise InputError.of(
                "head",
                f"at most as wide as the encoder's {encoder.width} features",
                f"{head.nesting.width}",
                "Choose a smaller nesting or a wider encoder.",
            )
        names = tuple(classes) or tuple(map(str, range(head.classes)))
        if len(names) != head.classes or len(set(names)) != len(names):
            raise InputError.of("classes", f"{head.classes} different names", f"{len(names)} names")
        self.encoder, self.head, self.classes = encoder, head, names

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.parameters()).device

    def forward(self, images: Shaped[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        """Features, as wide as the head's nesting."""
        return prefix(self.encoder(images), self.head.nesting.width)

    def loss(
        self,
        images: Shaped[Tensor, "b ..."],
        labels: Int[Tensor, " b"],
        *,
        weights: Float[Tensor, " k"] | None = None,
        label_smoothing: float | Sequence[float] = 0.0,
    ) -> NestedLoss:
        """The nested cross-entropy of a batch; `weights` are c_m, the nesting's own when left out."""
        return self.head.loss(self(images), labels, weights=weights, label_smoothing=label_smoothing)

    def encode(
        self,
        images: Shaped[np.ndarray, "n ..."] | Shaped[Tensor, "n ..."],
        *,
        batch_size: int = 1000,
        whole: bool = False,
    ) -> Float[np.ndarray, "n d"]:
        """Features of many images as float32, in evaluation mode, batch by batch on the model's device.

        Args:
            whole: all of the encoder's features, also those behind the head's nesting.
        """
        network: nn.Module = self.encoder if whole else self
        width = self.encoder.width if whole else self.head.nesting.width
        return encode_all(self, network, images, batch_size=batch_size, width=width)
