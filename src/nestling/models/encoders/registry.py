"""The interface of an encoder, and the table name → builder."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from nestling.errors import InputError

TUNED = ("all", "last", "none")


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

    def last_block(self) -> tuple[nn.Module, ...]:
        """What stands last before the features, for fine-tuning: all of it where nothing is said."""
        return (self,)

    def tune(self, what: str) -> None:
        """Choose what is trained: "all"; "last", the last block; or "none", and the head learns alone.

        What is not trained also keeps its batch norms' statistics and drops nothing out.

        Raises:
            InputError: another word.
        """
        if what not in TUNED:
            raise InputError.of("what is tuned", f"one of {', '.join(TUNED)}", repr(what))
        self.requires_grad_(what == "all")
        for block in self.last_block() if what == "last" else ():
            block.requires_grad_(True)

    def train(self, mode: bool = True) -> Encoder:
        """As of a module; parts of which nothing is trained stay in evaluation mode."""
        super().train(mode)
        for part in self.modules() if mode else ():
            trained = [p.requires_grad for p in part.parameters()]
            if trained and not any(trained) and part is not self:
                part.train(False)
        return self

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
