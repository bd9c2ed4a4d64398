"""Everything that decides a training run, in one frozen, JSON-able value."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from nestling.errors import InputError
from nestling.nesting import Nesting

_CHOICES = {
    "optimizer": ("adafactor", "adamw", "sgd"),
    "schedule": ("cosine", "linear", "one-cycle"),
    "precision": ("bf16", "fp32"),
}
_AT_LEAST = {  # whole numbers
    "epochs": 1,
    "batch_size": 1,
    "seed": 0,
    "smooth_from": 0,
    "crop_padding": 0,
    "checkpoint_every": 1,
    "log_every": 1,
    "accumulate": 1,
}
_RANGES = {  # (low, high), both allowed
    "lr": (1e-12, 1e3),
    "weight_decay": (0.0, 1e3),
    "momentum": (0.0, 0.9999),
    "warmup_epochs": (0.0, math.inf),
    "label_smoothing": (0.0, 0.9999),
    "head_lr": (1e-6, 1e6),
}
_FREE = ("checkpoint_every", "log_every", "fsdp")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How to train; two runs with equal configurations, data and first weights give equal weights.

    Attributes:
        epochs: passes over the data.
        steps: how many steps instead; epochs are not read then.
        batch_size: samples a step, over all processes together.
        accumulate: backward passes a step: each process reads its share of the batch in so many parts, one after the
            other. For losses that are means over samples; batch norm sees the parts.
        optimizer: "adamw", "sgd" (Nesterov momentum), or "adafactor" (Shazeer & Stern 2018; the paper's for ViT).
        lr: the peak learning rate.
        weight_decay: of weights with two axes or more, never of norms and biases.
        momentum: SGD's momentum, Adam's β₁.
        head_lr: the head's learning rate as a multiple of `lr`.
        head_weight_decay: of the head's weights; as everywhere when None.
        prefixes_per_step: how many prefixes, drawn anew in every step, have a loss; all of them when None.
        schedule: "cosine" (linear warm-up, then a half cosine down to 0), "linear" (the same, then a line), or
            "one-cycle" (the authors': linear from lr/10⁴ up to the peak, then linear down to 0).
        warmup_epochs: where the peak lies; with `steps`, at most in the middle.
        label_smoothing: mass moved from the true class to all alike, for objectives that have classes.
        smooth_from: prefixes of fewer dims keep their labels sharp: m numbers cannot push hundreds of classes equally
            far away, and a head that is asked to stays under-fitted (docs/LOG.md).
        clip_norm: longest gradient, None for no clipping.
        seed: of the order, the augmentation and dropout.
        precision: "fp32" or "bf16" (autocast; worth it on GPUs and on CPUs with AMX).
        fsdp: every process holds a share of the model instead of all of it, for models that outgrow one card.
        augment: random flips and crops.
        flip: mirror every second picture, with `augment`.
        crop_padding: pixels of random shift in each direction, with `augment`.
        checkpoint_every: steps between checkpoints.
        log_every: steps between lines of the log.

    Raises:
        InputError: a value is out of range.
    """

    epochs: int = 5
    batch_size: int = 128
    optimizer: str = "adamw"
    lr: float = 8e-3
    weight_decay: float = 0.02
    momentum: float = 0.9
    head_lr: float = 1.0
    head_weight_decay: float | None = None
    prefixes_per_step: int | None = None
    schedule: str = "one-cycle"
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.1
    smooth_from: int = 0
    clip_norm: float | None = 5.0
    seed: int = 0
    precision: str = "fp32"
    augment: bool = True
    flip: bool = True
    crop_padding: int = 0
    checkpoint_every: int = 500
    log_every: int = 50
    steps: int | None = None
    accumulate: int = 1
    fsdp: bool = False

    def __post_init__(self) -> None:
        for param, allowed in _CHOICES.items():
            if getattr(self, param) not in allowed:
                raise InputError.of(param, f"one of {', '.join(allowed)}", repr(getattr(self, param)))
        for param, low in _AT_LEAST.items():
            value = getattr(self, param)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise InputError.of(param, f"a whole number of at least {low}", repr(value))
        for param, (low, high) in _RANGES.items():
            _check_number(param, getattr(self, param), low, high)
        if self.clip_norm is not None:
            _check_number("clip_norm", self.clip_norm, 1e-12, math.inf)
        if self.prefixes_per_step is not None and self.prefixes_per_step < 1:
            raise InputError.of("prefixes_per_step", "at least 1, or none", self.prefixes_per_step)
        if self.head_weight_decay is not None:
            _check_number("head_weight_decay", self.head_weight_decay, 0.0, 1e3)
        if self.steps is not None and (isinstance(self.steps, bool) or self.steps < 1):
            raise InputError.of("steps", "at least 1, or none", self.steps)
        for param in ("augment", "flip", "fsdp"):
            if not isinstance(getattr(self, param), bool):
                raise InputError.of(param, "true or false", repr(getattr(self, param)))
        if self.steps is None and self.warmup_epochs >= self.epochs:
            raise InputError.of("warmup_epochs", f"less than the {self.epochs} epochs", self.warmup_epochs)

    def smoothing(self, nesting: Nesting) -> tuple[float, ...]:
        """The label smoothing of each prefix."""
        return tuple(float(self.label_smoothing) if m >= self.smooth_from else 0.0 for m in nesting)

    def to_json(self) -> str:
        """One line of JSON, keys sorted; `from_json` is its inverse."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        """Read what `to_json` wrote; missing keys take their defaults.

        Raises:
            InputError: not JSON, unknown keys, or values out of range.
        """
        try:
            values: Any = json.loads(text)
        except ValueError as error:
            raise InputError.of("config", "JSON", f"text that is not ({error})") from None
        if not isinstance(values, dict):
            raise InputError.of("config", "a JSON object", type(values).__name__)
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise InputError.of("config", "made of known settings", ", ".join(map(repr, unknown)))
        return cls(**values)

    def differences(self, other: TrainConfig) -> list[str]:
        """The settings that differ and change the weights: not how often to log or to save."""
        names = (f.name for f in fields(self) if f.name not in _FREE)
        return [name for name in names if getattr(self, name) != getattr(other, name)]


def _check_number(param: str, value: Any, low: float, high: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and low <= value <= high):
        raise InputError.of(param, f"a number from {low:g} to {high:g}", repr(value))
