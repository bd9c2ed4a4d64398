"""What an adaptor learns from and how: plain values between the estimator and the learning, no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int64

from nestling.errors import InputError
from nestling.nesting import Nesting

Kind = Literal["rotation", "residual"]
Told = Callable[[int, int, str], object]
"""Called as ``told(done, total, words)``."""


class Phases:
    """One count of progress, of a thousand, out of several that follow one another.

    Args:
        told: who hears; None for nobody.
        count: phases.
    """

    def __init__(self, told: Told | None, count: int) -> None:
        self._told, self._count, self._at = told, count, -1

    def next(self) -> Told:
        """What the next phase calls, with counts of its own."""
        self._at += 1
        at = self._at

        def heard(done: int, total: int, words: str) -> None:
            if self._told is not None:
                self._told(int(1000 * (at + done / max(total, 1)) / self._count), 1000, words)

        return heard


@dataclass(frozen=True, slots=True)
class Settings:
    """How to learn; the attributes are the estimator's parameters of the same names, each with its value."""

    kind: Kind
    nesting: Nesting
    steps: int
    batch_size: int
    rate: float
    temperature: float
    neighbors: int
    hidden: int
    separate: bool
    held_out: float
    patience: int
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What is learnt from; the arrays may be mapped.

    Attributes:
        x: (n, d) float.
        labels: (n,) classes 0 … c−1, or None.
        partners: (n, d), row i belonging to row i of x, or None.
    """

    x: Float[np.ndarray, "n d"]
    labels: Int64[np.ndarray, " n"] | None = None
    partners: Float[np.ndarray, "n d"] | None = None

    @property
    def kind(self) -> str:
        """ "labels", "pairs" or "neighbours": what stands beside the vectors."""
        return "labels" if self.labels is not None else "neighbours" if self.partners is None else "pairs"


def phases_of(material: Material, settings: Settings, told: Told | None) -> Phases:
    """All rows are looked at; then neighbours are mined, and heads, a rotation, a residual map learnt where wanted."""
    turns = settings.nesting.dims[0] < material.x.shape[1]
    bends = settings.kind == "residual"
    mines = material.kind == "neighbours" and (turns or bends)
    return Phases(told, 1 + mines + turns * (1 + (material.kind == "labels")) + bends)


_RESIDUAL_RATE = 1e-4  # this and what follows: chosen on validation (docs/LOG.md)
_TEMPERATURES = {"neighbours": 0.1, "labels": 0.05, "pairs": 0.05}
_BATCHES = {"neighbours": 256, "labels": 512, "pairs": 512}  # anchors have their neighbours with them


def checked_settings(given: Mapping[str, Any], nesting: Nesting, material: Material, seed: int) -> Settings:
    """The estimator's parameters with their defaults filled in.

    Raises:
        InputError: one is out of range, or two do not go together.
    """
    kind = given["kind"]
    if kind not in ("rotation", "residual"):
        raise InputError.of("kind", "'rotation' or 'residual'", repr(kind))
    size = _BATCHES[material.kind] if given["batch_size"] is None else given["batch_size"]
    for param, value, least in (
        ("steps", given["steps"], 1),
        ("batch_size", size, 2),
        ("neighbors", given["neighbors"], 1),
        ("patience", given["patience"], 1),
    ):
        _check_whole(param, value, least)
    hidden = material.x.shape[1] if given["hidden"] is None else given["hidden"]
    _check_whole("hidden", hidden, 1)
    if given["separate"] and (kind == "rotation" or material.partners is None):
        raise InputError.of("separate", "false without a residual map and pairs", True, "Leave it out.")
    rate = _rate(kind, material.kind) if given["learning_rate"] is None else given["learning_rate"]
    temperature = _TEMPERATURES[material.kind] if given["temperature"] is None else given["temperature"]
    for param, value, high in (("learning_rate", rate, 1e3), ("temperature", temperature, 1e3)):
        if not _is_number(value) or not 0 < value <= high:
            raise InputError.of(param, "positive", repr(value))
    if not _is_number(given["held_out"]) or not 0 <= given["held_out"] < 1:
        raise InputError.of("held_out", "a share of at least 0 and below 1", repr(given["held_out"]))
    return Settings(
        kind=kind,
        nesting=nesting,
        steps=int(given["steps"]),
        batch_size=int(size),
        rate=float(rate),
        temperature=float(temperature),
        neighbors=int(given["neighbors"]),
        hidden=int(hidden),
        separate=bool(given["separate"]),
        held_out=float(given["held_out"]),
        patience=int(given["patience"]),
        seed=seed,
    )


def rotation_rate(material: str) -> float:
    """The rate of a rotation: lower where it leaves a principal basis that is the best by a part of its loss."""
    return 3e-3 if material == "neighbours" else 1e-2


def _rate(kind: str, material: str) -> float:
    return rotation_rate(material) if kind == "rotation" else _RESIDUAL_RATE


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _check_whole(param: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError.of(param, f"a whole number of at least {least}", repr(value))
