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

BITS = (1, 2, 4, 8)
"""Bits a dim that a sketch may have."""

_PROBE = re.compile(r"probe=([0-9]{1,12})")
_STAGE = re.compile(r"([0-9]{1,12})(?:@([0-9]{1,12}))?:([0-9]{1,12})")
_EXAMPLE = "Write for example 16:200,2048:10 (rank by 16 dims and keep 200, rank those by 2048 and keep 10)."
_ALLOWED = "Leave it out, or search an Index that holds it."


@dataclass(frozen=True, slots=True)
class Stage:
    """Rank what the stage before kept by its first `dims` numbers and keep the best `keep`.

    Attributes:
        dims: the prefix.
        keep: the length of the shortlist it leaves.
        bits: None reads the stored numbers. In a first stage 1, 2, 4 or 8 scans the sketch of that prefix; in a later
            one 8 reads the int8 copy.

    Raises:
        PlanError: dims or keep is not a positive whole number, or there are no sketches of these bits.
    """

    dims: int
    keep: int
    bits: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", _checked_int("dims", self.dims))
        object.__setattr__(self, "keep", _checked_int("keep", self.keep))
        if self.bits is not None:
            object.__setattr__(self, "bits", _checked_int("bits", self.bits))
            if self.bits not in BITS:
                raise PlanError.of("bits", "1, 2, 4 or 8", self.bits, "Write for example 128@1:200.")

    def __str__(self) -> str:
        return f"{self.dims}:{self.keep}" if self.bits is None else f"{self.dims}@{self.bits}:{self.keep}"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a gallery offers a plan, and how much of it there is.

    Attributes:
        nesting: the dims that are stored.
        n: gallery items that may be found.
        itemsize: bytes of a stored number, 2 or 4.
        sketches: the (dims, bits) that a first stage may scan.
        copies: the prefixes at which the int8 copy is cut.
        cells: how many cells the partition has; None without one.
        cell_dims: the prefix that the cells were made from, and that a query is compared with them by.
    """

    nesting: Nesting
    n: int
    itemsize: int = 2
    sketches: frozenset[tuple[int, int]] = frozenset()
    copies: frozenset[int] = frozenset()
    cells: int | None = None
    cell_dims: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The stages of a search: one is a plain search of a prefix, two are adaptive retrieval, more a funnel
    (Kusupati et al. 2022, §4.3).

    Attributes:
        stages: at least one; dims and precision never fall, keeps never rise, the last keep is k. The first stage's
            sketch is a coarser copy of any precision, so anything may follow it.
        probe: how many cells to visit before the first stage; None visits the whole gallery.

    Raises:
        PlanError: the stages break one of these rules.
    """

    stages: tuple[Stage, ...]
    probe: int | None = None

    def __post_init__(self) -> None:
        stages = tuple(self.stages)
        if not stages:
            raise PlanError.of("a plan", "at least one stage", "none", _EXAMPLE)
        for before, after in pairwise(stages):
            _check_pair(before, after)
        object.__setattr__(self, "stages", stages)
        if self.probe is not None:
            object.__setattr__(self, "probe", _checked_int("probe", self.probe))

    @classmethod
    def of(cls, stages: Iterable[tuple[int, int] | tuple[int, int, int | None]], *, probe: int | None = None) -> Plan:
        """Build a plan from (dims, keep) or (dims, keep, bits)."""
        read = (Stage(stage[0], stage[1], stage[2] if len(stage) == 3 else None) for stage in stages)
        return cls(tuple(read), probe)

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Read ``"16:200,2048:10"`` or ``"probe=32;16@8:1000,64@8:100,2048:10"`` (the inverse of `str`).

        Raises:
            PlanError: the text is no plan.
        """
        head, semicolon, tail = text.partition(";")
        probe = _PROBE.fullmatch(head.strip())
        if (semicolon or "probe" in text) and not probe:
            rule = "probe=CELLS; before the stages, or stages alone"
            raise PlanError.of("a plan", rule, repr(text), "Write for example probe=32;16:200,2048:10.")
        matches = [_STAGE.fullmatch(part.strip()) for part in (tail if probe else text).split(",")]
        if not all(matches):
            raise PlanError.of("a plan", "dims:keep pairs separated by commas", repr(text), _EXAMPLE)
        stages = [Stage(int(m[1]), int(m[3]), int(m[2]) if m[2] else None) for m in matches if m]
        return cls(tuple(stages), int(probe[1]) if probe else None)

    def __str__(self) -> str:
        stages = ",".join(map(str, self.stages))
        return stages if self.probe is None else f"probe={self.probe};{stages}"

    @property
    def k(self) -> int:
        """The number of hits: the last keep."""
        return self.stages[-1].keep

    @property
    def dims(self) -> tuple[int, ...]:
        """The dims of each stage, never falling; equal neighbours are possible."""
        return tuple(stage.dims for stage in self.stages)

    @property
    def sketch(self) -> tuple[int, int] | None:
        """(dims, bits) of the sketch that the first stage scans; None where it scans stored numbers."""
        first = self.stages[0]
        return None if first.bits is None else (first.dims, first.bits)

    def check(self, stored: Stored | Nesting | int, n: int | None = None) -> None:
        """Raise unless the plan can run on a gallery.

        A shortlist larger than the gallery keeps all of it, so that one plan serves galleries of any size.

        Args:
            stored: what an index offers. A nesting or a width means plain vectors, without sketches, copies and
                cells: a nesting must hold each of the plan's dims, a width must only be wide enough.
            n: gallery items that may be found; left out with a `Stored`, which knows.

        Raises:
            PlanError: something that the plan reads is not there, or k is larger than n.
        """
        if isinstance(stored, Stored):
            self._check_index(stored)
        else:
            self._check_plain(stored)
        n = stored.n if isinstance(stored, Stored) else n
        if n is not None and self.k > n:
            raise PlanError.of(
                "the last keep",
                f"at most {n}, the items that can be found",
                self.k,
                "Ask for fewer neighbours.",
            )

    def mflops(self, stored: Stored | int) -> float:
        """Millions of multiplications for one query, as the paper counts: (n·m₁ + Σ shortlist·m_stage) / 10⁶, each
        stage with its full m (§4.3.1); with cells cells·m_c + items probed·m₁.

        Args:
            stored: what an index offers, or the number of gallery items; a plan that probes needs the former.
                The cells are taken to be equally full.

        Raises:
            PlanError: a plan that probes, and no cells.
        """
        stages = zip(self._items(stored), self.dims, strict=True)
        return (self._cell_numbers(stored) + sum(items * m for items, m in stages)) / 1e6

    def mflops_rings(self, stored: Stored | int) -> float:
        """The same when each stage adds only its new ring to the running sums; where the precision changes the sum
        starts over, and the stage multiplies its whole prefix."""
        stages = zip(self._items(stored), self._new_dims(), strict=True)
        return (self._cell_numbers(stored) + sum(items * m for items, m in stages)) / 1e6

    def bytes_read(self, stored: Stored | int, itemsize: int = 4) -> int:
        """Bytes of gallery vectors read for one query: each stage reads only what `mflops_rings` multiplies.

        A sketch has m·bits/8 bytes a vector, rounded up, and 1 more for a scale when bits < 8; a copy has one byte a
        dim. The norms and the copy's scales (4 bytes for each item and stage) are not counted.

        Args:
            stored: as for `mflops`.
            itemsize: bytes of a stored number, when `stored` is only a number of items.

        Raises:
            PlanError: a plan that probes, and no cells.
        """
        itemsize = stored.itemsize if isinstance(stored, Stored) else itemsize
        total = 4 * self._cell_numbers(stored)  # the cells' centres, float32
        stages = zip(self._items(stored), self._new_dims(), self.stages, strict=True)
        for place, (items, m, stage) in enumerate(stages):
            if stage.bits is None:
                total += items * m * itemsize
            elif place:
                total += items * m
            else:
                total += items * sketch_bytes(m, stage.bits)
        return total

    def _check_index(self, stored: Stored) -> None:
        if self.probe is not None:
            if stored.cells is None:
                raise PlanError(f"probe={self.probe} needs cells, and this index has none. Partition it first.")
            if self.probe > stored.cells:
                raise PlanError.of("probe", f"at most {stored.cells}, the cells of this index", self.probe)
        for place, stage in enumerate(self.stages):
            if stage.bits is None and stage.dims not in stored.nesting.dims:
                rule = f"among the stored dims {stored.nesting}"
                raise PlanError.of("dims", rule, stage.dims, f"Change the plan {self}.")
            if stage.bits is not None and not place and (stage.dims, stage.bits) not in stored.sketches:
                have = ", ".join(f"{m}@{bits}" for m, bits in sorted(stored.sketches)) or "none"
                raise PlanError.of("the first stage", f"one of the sketches {have}", stage, f"Change the plan {self}.")
            if stage.bits is not None and place and stage.dims not in stored.copies:
                have = ", ".join(f"{m}@8" for m in sorted(stored.copies)) or "none"
                raise PlanError.of("a later stage", f"one of the copies {have}", stage, f"Change the plan {self}.")

    def _check_plain(self, stored: Nesting | int) -> None:
        if self.probe is not None:
            raise PlanError(f"probe={self.probe} needs cells, which plain vectors have not. {_ALLOWED}")
        for stage in self.stages:
            if stage.bits is not None:
                raise PlanError(f"{stage} needs {stage.bits}-bit codes, which plain vectors have not. {_ALLOWED}")
        if isinstance(stored, Nesting):
            missing = [m for m in self.dims if m not in stored.dims]
            rule = f"among the stored dims {stored}"
        else:
            missing = [m for m in self.dims if m > stored]
            rule = f"at most the vectors' width {stored}"
        if missing:
            raise PlanError.of("dims", rule, missing[0], f"Change the plan {self}.")

    def _cell_numbers(self, stored: Stored | int) -> int:
        """Numbers of the cells' centres that a query is compared with."""
        return 0 if self.probe is None else _cells(self, stored).cell_dims * (_cells(self, stored).cells or 0)

    def _items(self, stored: Stored | int) -> list[int]:
        """What each stage ranks."""
        n = stored.n if isinstance(stored, Stored) else stored
        if self.probe is not None:
            cells = _cells(self, stored).cells or 1
            n = -(-n * min(self.probe, cells) // cells)
        return [n, *(min(n, stage.keep) for stage in self.stages[:-1])]

    def _new_dims(self) -> list[int]:
        """What each stage multiplies of one item: its new ring, or all its prefix when the sum starts over. It does
        after a sketch, whose numbers are no other's, and where the precision changes."""
        new = [self.stages[0].dims]
        for place, (before, after) in enumerate(pairwise(self.stages)):
            goes_on = before.bits == after.bits and (place > 0 or before.bits is None)
            new.append(after.dims - before.dims if goes_on else after.dims)
        return new


def sketch_bytes(m: int, bits: int) -> int:
    """Bytes of one vector's sketch: the codes, and 1 for a scale when bits < 8."""
    return -(-m * bits // 8) + (1 if bits < 8 else 0)


def _cells(plan: Plan, stored: Stored | int) -> Stored:
    if isinstance(stored, Stored) and stored.cells is not None:
        return stored
    raise PlanError(f"what probe={plan.probe} costs depends on the cells, and there are none. {_ALLOWED}")


def _check_pair(before: Stage, after: Stage) -> None:
    """Raise unless `after` may follow `before`; that a sketch comes first is what makes any precision follow it."""
    got = f"{before},{after}"
    if after.dims < before.dims:
        raise PlanError.of("dims", "never falling", got, "Sort the stages by their dims.")
    if after.keep > before.keep:
        raise PlanError.of("keeps", "never rising", got, "A stage cannot keep more than it was given.")
    if after.bits is not None and before.bits is None:
        raise PlanError.of("precision", "never falling", got, f"Leave @{after.bits} out.")
    if after.bits not in (None, 8):
        raise PlanError.of("bits of a later stage", "8 or left out", got, "Only a first stage scans sketches.")


def _checked_int(param: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or int(cast(int, value)) < 1:
        raise PlanError.of(param, "a positive whole number", repr(cast(object, value)), _EXAMPLE)
    return int(cast(int, value))
