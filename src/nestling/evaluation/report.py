"""Rows: one measured number each, and the JSON lines that keep them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

from nestling.errors import DataError, InputError
from nestling.files import write_file


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One measured number and what it was measured on. Equal rows are those with equal JSON.

    Attributes:
        system: what was measured, for example "MRL" or "nestling".
        metric: for example "map@10" or "1nn_top1".
        value: the number; NaN where there is none, written as null.
        unit: "fraction" (0 to 1), "ms", "MFLOPs", "bytes", …
        n: queries (or other cases) behind the number.
        dims: the prefix, or None.
        plan: the search plan's text or "exact", or None.
        group: the class or part of the queries that the row is about; None for all.
        interval: lower and upper bound, or None.
        seed: of the training behind the number, or None.

    Raises:
        InputError: the value or a bound is infinite, or n is negative.
    """

    system: str
    metric: str
    value: float | int
    unit: str
    n: int
    dims: int | None = None
    plan: str | None = None
    group: str | None = None
    interval: tuple[float, float] | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _number("value", self.value))
        object.__setattr__(self, "n", int(self.n))
        if self.n < 0:
            raise InputError.of("n", "at least 0", self.n)
        if self.interval is not None:
            low, high = self.interval
            object.__setattr__(self, "interval", (_number("interval", low), _number("interval", high)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def to_json(self) -> str:
        """One line of JSON without line break; what is None is left out, NaN is null."""
        record = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(_nulls(record), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Row:
        """Read what `to_json` wrote.

        Raises:
            DataError: the text is no such line.
        """
        try:
            record = json.loads(text)
            if not isinstance(record, dict):
                raise TypeError
            values = {str(name): value for name, value in cast(dict[Any, Any], record).items()}
            if "interval" in values:
                low, high = (math.nan if bound is None else bound for bound in values["interval"])
                values["interval"] = (low, high)
            values["value"] = math.nan if values["value"] is None else values["value"]
            return cls(**values)
        except (ValueError, TypeError, KeyError):
            names = ", ".join(field.name for field in fields(cls))
            raise DataError(f"A row must be a JSON object of {names}; got {text[:80]!r}.") from None


def dump_rows(rows: Iterable[Row]) -> str:
    """JSON lines, one per row, each ended by a line break."""
    return "".join(row.to_json() + "\n" for row in rows)


def load_rows(text: str) -> list[Row]:
    """The inverse of `dump_rows`; empty lines are skipped.

    Raises:
        DataError: a line is no row; the message holds it.
    """
    # Not splitlines(): a name may hold one of the other characters that it takes for a line's end.
    return [Row.from_json(line) for line in text.split("\n") if line.strip()]


def save_rows(rows: Iterable[Row], path: str | Path) -> None:
    """Write the rows as JSON lines, in UTF-8."""
    write_file(Path(path), dump_rows(rows))


def read_rows(path: str | Path) -> list[Row]:
    """Read the rows that `save_rows` wrote.

    Raises:
        DataError: the file is missing or a line is no row.
    """
    try:
        return load_rows(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as rows: {error}.") from error


def _number(param: str, value: Any) -> float:
    number = float(value)
    if math.isinf(number):
        raise InputError.of(param, "finite, or NaN where there is no number", number)
    return number


def _nulls(value: Any) -> Any:
    """The same with None for NaN, because JSON knows no NaN."""
    if isinstance(value, dict):
        return {name: _nulls(item) for name, item in cast(dict[str, Any], value).items()}
    if isinstance(value, tuple):
        return [_nulls(item) for item in cast(tuple[Any, ...], value)]
    return None if isinstance(value, float) and math.isnan(value) else value
