"""The interface of an encoder, and the table name → builder."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from nestling.errors import InputError


class Encoder(nn.Module):
    """Images (or whatever it reads) in, features (b, width) out.

    Attributes:
        name: the word that finds its builder again.
        width: how many numbers a feature vector has.
        config: the builder's arguments, JSON-able: ``build(name, config)`` makes the same architecture.
    """

    name: ClassVar[str]
    width: int
    config: dict[str, Any]

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Features (b, width) of a batch."""

    def rotated(self, rotation: Tensor) -> Encoder:
        """The same encoder with features R · f(x), for R (width, width); this one is left as it is.

        Raises:
            ShapeError: R is of another shape.
            InputError: the encoder has no last linear map that could hold R.
        """
        del rotation
        raise InputError.of("encoder", "one that can be rotated", self.name, "ResidualEncoder can.")


ENCODERS: dict[str, Callable[..., Encoder] | str] = {}


def register(name: str, builder: Callable[..., Encoder] | str) -> None:
    """Add a builder under a name; ``"package.module:Class"`` is imported when it is first asked for.

    Raises:
        InputError: the name already belongs to another builder.
    """
    if ENCODERS.setdefault(name, builder) != builder:
        raise InputError.of("name", "new", repr(name), "Choose a name that no other encoder has.")


def encoder_class(name: str) -> Any:
    """The builder of that name.

    Raises:
        InputError: no encoder has that name.
    """
    if name not in ENCODERS:
        raise InputError.of("encoder", f"one of {', '.join(sorted(ENCODERS))}", repr(name), "Register it first.")
    builder = ENCODERS[name]
    if isinstance(builder, str):
        module, _, attribute = builder.partition(":")
        builder = getattr(importlib.import_module(module), attribute)
    return builder


def build(name: str, config: dict[str, Any]) -> Encoder:
    """The encoder of that name and those arguments, with fresh weights.

    Raises:
        InputError: no encoder has that name, or it refuses the arguments.
    """
    builder = encoder_class(name)
    try:
        return builder(**config)
    except TypeError as error:
        raise InputError.of("config", f"the arguments of {name}", repr(config), f"({error})") from error
