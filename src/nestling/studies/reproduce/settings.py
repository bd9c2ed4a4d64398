"""What is reproduced, on which data, how long it trains."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.training import TrainConfig

SCALES = ("full", "small")


FEW_DIMS = 16
"""Up to these seeds differ most, so more are trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that decides the numbers.

    Attributes:
        data: "icons-600", "icons-1500", or a folder of one folder per class.
        nesting: the prefixes of the nested models, and the widths of the plain ones.
        stages: channels of the encoder's stages; the last are the features.
        train: of every model, nested or plain.
        sharp_below: prefixes of fewer dims of a nested model keep sharp labels; a plain model of so few dims is better
            with smoothed ones (docs/LOG.md).
        scale: the name of these settings.
        pixels: of a side.
        seeds: of weights, order and augmentation; a table shows their mean.
        few_dims_seeds: of the models that are compared at `FEW_DIMS` and below.
        once: of what is measured with one seed only; empty in a run of other seeds, whose rows are joined to it.
        classes: how many are used, spread over the alphabet; None for all.
        strengths: of probes (the inverse of the L2 penalty); validation chooses among them at each prefix.
        finish_epochs: of the rotation behind a trained model.
        few_shot_draws, random_draws, redraws: of few-shot examples, random features, validation sets of a cascade.
    """

    data: str
    nesting: Nesting
    stages: tuple[int, ...]
    train: TrainConfig
    scale: str = "full"
    pixels: int = 32
    sharp_below: int = 16
    strengths: tuple[float, ...] = (0.03, 0.1, 1.0, 10.0)
    finish_epochs: int = 24
    seeds: tuple[int, ...] = (0, 1, 2)
    few_dims_seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    once: tuple[int, ...] = (0,)
    classes: int | None = None
    few_shot_draws: int = 100
    random_draws: int = 3
    redraws: int = 30

    def __post_init__(self) -> None:
        if not self.few_dims_seeds or not set(self.once) <= set(self.seeds) <= set(self.few_dims_seeds):
            seeds = f"{self.once}, {self.seeds} and {self.few_dims_seeds}"
            raise InputError.of("once, seeds and few_dims_seeds", "each among the next, the last not empty", seeds)

    @property
    def unseen(self) -> tuple[int, ...]:
        """Widths half-way between the prefixes, which no nested model was trained on."""
        return tuple((a + b) // 2 for a, b in zip(self.nesting.dims, self.nesting.dims[1:], strict=False))


def get_settings(scale: str = "full", *, data: str = "icons-600", seeds: int = 3, only: int | None = None) -> Settings:
    """The published tables, or every row of them in minutes.

    Args:
        scale: "full" or "small".
        data: as of `Settings`.
        seeds: how many; two more are trained for the shortest prefixes when there are at least three.
        only: one of them, and nothing of the others.

    Raises:
        InputError: no such scale, or no seed.
    """
    if scale not in SCALES:
        raise InputError.of("scale", " or ".join(SCALES), repr(scale))
    if seeds < 1:
        raise InputError.of("seeds", "at least 1", seeds)
    more = seeds + 2 if seeds >= 3 else seeds
    train = TrainConfig(epochs=12, batch_size=256, warmup_epochs=3.0, crop_padding=2, flip=False)
    nesting, stages = Nesting((8, 16, 32, 64, 128, 256)), (32, 64, 128, 256)
    full = Settings(
        data=data,
        nesting=nesting,
        stages=stages,
        train=train,
        seeds=tuple(range(seeds)),
        few_dims_seeds=tuple(range(more)),
    )
    found = full if scale == "full" else _small(full)
    return found if only is None else _only(found, only)


def _small(full: Settings) -> Settings:
    """Every row in minutes."""
    return replace(
        full,
        scale="small",
        nesting=Nesting((8, 16, 32, 64)),
        stages=(16, 32, 64),
        train=replace(full.train, epochs=3, batch_size=128, warmup_epochs=1.0),
        strengths=(0.1, 10.0),
        finish_epochs=3,
        seeds=(0,),
        few_dims_seeds=(0,),
        classes=48,
        few_shot_draws=5,
        redraws=5,
    )


def _only(settings: Settings, seed: int) -> Settings:
    """The part of one seed."""
    if seed not in settings.few_dims_seeds:
        raise InputError.of("seed", f"one of {', '.join(map(str, settings.few_dims_seeds))}", seed)
    kept = {name: tuple(s for s in getattr(settings, name) if s == seed) for name in ("once", "seeds")}
    return replace(settings, few_dims_seeds=(seed,), **kept)
