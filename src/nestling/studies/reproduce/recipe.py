"""What decides a trained model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from nestling.nesting import Nesting
from nestling.training import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One model to train.

    Attributes:
        system: what tables call it.
        nesting: of its head; a single dim is a plain model (FF).
        ending: of the encoder.
        train: how; its seed is replaced by the model's.
        finished: whether a rotation is learnt behind it.
        start: a recipe whose trained weights it starts from instead of random ones.
        tune: what of the encoder is trained, as of `Encoder.tune`.
    """

    system: str
    nesting: Nesting
    train: TrainConfig
    tied: bool = False
    ending: str = "pooled"
    finished: bool = False
    start: Recipe | None = None
    tune: str = "all"

    def plain(self) -> Recipe:
        """The same without the rotation."""
        return replace(self, finished=False)


class Training(NamedTuple):
    """A recipe and the seed of its weights, order and augmentation."""

    recipe: Recipe
    seed: int
