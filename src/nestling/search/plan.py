"""Plans: the stages of a search as data, and what they cost. One formula, one place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np

from nestling.errors import PlanError
from nestling.nesting import Nesting

_STAGE = re.compile(r"([0-9]{1,12}):([0-9]{1,12})")
_EXAMPLE = "Write for example 16:200,2048:10 (rank by 16 dims and keep 200, rank those by 2048 and keep 10)."


@dataclass(frozen=True, slots=True)
class Stage:
    """Rank what the stage before kept by its first `dims` numbers and keep the best `keep`.

    Raises:
        PlanError: one of the two is not a positive whole number.
    """

    dims: int
    keep: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", _checked_int("dims", self.dims))
        object.__setattr__(self, "keep", _checked_int("keep", self.keep))

    def __str__(self) -> str:
        return f"{self.dims}:{self.keep}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The stages of a search: one is a plain search of a prefix, two are adaptive retrieval, more a funnel
    (Kusupati et al. 2022, §4.3).

    Attributes:
        stages: at least one; dims never fall, keeps never rise, the last keep is k.

    Raises:
        PlanError: the stages break one of these rules.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        stages = tuple(self.stages)
        if not stages:
            raise PlanError.of("a plan", "at least one stage", "none", _EXAMPLE)
        for before, after in pairwise(stages):
            if after.dims < before.dims:
                raise PlanError.of("dims", "never falling", f"{before},{after}", "Sort the stages by their dims.")
            if after.keep > before.keep:
                raise PlanError.of(
                    "keeps",
                    "never rising",
                    f"{before},{after}",
                    "A stage cannot keep more than it was given.",
                )
        object.__setattr__(self, "stages", stages)

    @classmethod
    def of(cls, stages: Iterable[tuple[int, int]]) -> Plan:
        """Build a plan from pairs of (dims, keep)."""
        return cls(tuple(Stage(dims, keep) for dims, keep in stages))

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Read ``"16:200,2048:10"`` (the inverse of `str`).

        Raises:
            PlanError: the text is no plan, or asks for sketches (``@bits``) or cells (``probe=``).
        """
        for mark, what in (("@", "sketches (@bits)"), ("probe", "cells (probe=)"), (";", "cells (probe=)")):
            if mark in text:
                raise PlanError(f"{what} are not supported by this version. Leave them out of {text!r}.")
        matches = [_STAGE.fullmatch(part.strip()) for part in text.split(",")]
        if not all(matches):
            raise PlanError.of("a plan", "dims:keep pairs separated by commas", repr(text), _EXAMPLE)
        return cls.of((int(match[1]), int(match[2])) for match in matches if match)

    def __str__(self) -> str:
        return ",".join(map(str, self.stages))

    @property
    def k(self) -> int:
        """The number of hits: the last keep."""
        return self.stages[-1].keep

    @property
    def dims(self) -> tuple[int, ...]:
        """The dims of each stage, never falling; equal neighbours are possible."""
        return tuple(stage.dims for stage in self.stages)

    def check(self, nesting_or_width: Nesting | int, n: int) -> None:
        """Raise unless the plan can run on a gallery of n vectors with these dims.

        A shortlist larger than the gallery keeps all of it, so that one plan serves galleries of any size.

        Args:
            nesting_or_width: a nesting must hold each of the plan's dims, a width must only be wide enough.
            n: gallery items that may be found.

        Raises:
            PlanError: a stage's dims are not stored, or k is larger than n.
        """
        if isinstance(nesting_or_width, Nesting):
            missing = [m for m in self.dims if m not in nesting_or_width.dims]
            rule = f"among the stored dims {nesting_or_width}"
        else:
            missing = [m for m in self.dims if m > nesting_or_width]
            rule = f"at most the vectors' width {nesting_or_width}"
        if missing:
            raise PlanError.of("dims", rule, missing[0], f"Change the plan {self}.")
        if self.k > n:
            raise PlanError.of(
                "the last keep",
                f"at most {n}, the items that can be found",
                self.k,
                "Ask for fewer neighbours.",
            )

    def mflops(self, n: int) -> float:
        """Millions of multiplications for one query, as the paper counts: (n·m₁ + Σ shortlist·m_stage) / 10⁶,
        each stage with its full m (§4.3.1)."""
        return sum(items * stage.dims for items, stage in zip(self._items(n), self.stages, strict=True)) / 1e6

    def mflops_rings(self, n: int) -> float:
        """The same when each stage adds only its new ring to the running sums, as `funnel` does."""
        return self._ring_numbers(n) / 1e6

    def bytes_read(self, n: int, itemsize: int = 4) -> int:
        """Bytes of gallery vectors read for one query: each stage reads only its new ring of its shortlist.
        The norms (4 bytes for each item and stage) are not counted."""
        return self._ring_numbers(n) * itemsize

    def _items(self, n: int) -> list[int]:
        return [n, *(min(n, stage.keep) for stage in self.stages[:-1])]

    def _ring_numbers(self, n: int) -> int:
        rings = (after - before for before, after in pairwise((0, *self.dims)))
        return sum(items * ring for items, ring in zip(self._items(n), rings, strict=True))


def _checked_int(param: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or int(cast(int, value)) < 1:
        raise PlanError.of(param, "a positive whole number", repr(cast(object, value)), _EXAMPLE)
    return int(cast(int, value))
