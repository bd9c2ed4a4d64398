"""An encoder around a network of another library: its pooled output, and a linear map of it once rotated."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import skip_init

from nestling.errors import InputError, ShapeError
from nestling.models.encoders.registry import Encoder, build

ENDINGS = ("pooled", "linear")


class Backbone(Encoder):
    """Pooled output of a network; after `rotated` a linear map of it.

    Args:
        network: with its weights; becomes part of the encoder.
        width: d, of what `pooled` gives.
        ending: "pooled", nothing more; "linear", a map with a bias, which is what `rotated` leaves.
        config: the builder's arguments.

    Raises:
        InputError: no such ending.
    """

    def __init__(self, network: nn.Module, width: int, ending: str, config: dict[str, Any]) -> None:
        super().__init__()
        if ending not in ENDINGS:
            raise InputError.of("ending", f"one of {', '.join(ENDINGS)}", repr(ending))
        self.network, self.width = network, width
        self.config = {**config, "ending": ending}
        self.out = skip_init(nn.Linear, width, width) if ending == "linear" else nn.Identity()

    @abstractmethod
    def pooled(self, inputs: Tensor) -> Float[Tensor, "b d"]:
        """What the network makes of a batch, one vector each."""

    def forward(self, inputs: Tensor) -> Float[Tensor, "b d"]:
        """Features of a batch."""
        return self.out(self.pooled(inputs))

    @torch.no_grad()
    def rotated(self, rotation: Float[Tensor, "d d"]) -> Encoder:
        """The same encoder with features R · f(x)."""
        if rotation.shape != (self.width, self.width):
            raise ShapeError.of("rotation", f"({self.width}, {self.width})", f"shape {tuple(rotation.shape)}")
        turned = build(self.name, {**self.config, "ending": "linear"})
        weight, bias = rotation.double(), rotation.new_zeros(self.width, dtype=torch.float64)
        if isinstance(self.out, nn.Linear):
            weight, bias = weight @ self.out.weight.double(), weight @ self.out.bias.double()
        own = {name: t for name, t in self.state_dict().items() if not name.startswith("out.")}
        like = next(self.network.parameters())
        turned.load_state_dict(own | {"out.weight": weight.to(like.dtype), "out.bias": bias.to(like.dtype)})
        return turned.to(like.device).train(self.training)
