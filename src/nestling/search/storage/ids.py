"""Ids: int64 numbers or texts, one kind in an index; as they come in, and as a segment holds them.

A segment finds a row by its id through `keys`, sorted, and `key_rows`, the row of each key. The key of a number is
the number, that of a text is xxh3_64 of its UTF-8; texts of equal keys are told apart by comparing them. Everything
read from a file is checked where it is used: damaged ids may name wrong rows, never rows or bytes that are not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import xxhash
from jaxtyping import Int64, Shaped, UInt8, UInt32, UInt64

from nestling.errors import InputError, ShapeError
from nestling.search.storage.blocks import Arrays, Section, damaged

_ROWS_AT_ONCE = 1 << 16
_KINDS = {"int64": "whole numbers", "string": "texts"}


@dataclass(frozen=True, eq=False)
class WholeIds:
    """Ids that are numbers ≥ 0, in memory."""

    values: Int64[np.ndarray, " n"]
    kind = "int64"
    text_bytes = 0

    def __len__(self) -> int:
        return len(self.values)

    @property
    def keys(self) -> UInt64[np.ndarray, " n"]:
        """What they are looked up by."""
        return self.values.view(np.uint64)

    def part(self, start: int, stop: int) -> WholeIds:
        """Those of a range of rows."""
        return WholeIds(self.values[start:stop])

    def name(self, row: int) -> str:
        """One as a message shows it."""
        return str(self.values[row])

    def repeated(self) -> int | None:
        """The row of an id that occurs twice."""
        if ascending(self.values):
            return None
        order = np.argsort(self.values, kind="stable")
        again = np.flatnonzero(self.values[order[1:]] == self.values[order[:-1]])
        return int(order[again[0] + 1]) if len(again) else None

    def chunks(self) -> Iterator[tuple[str, np.ndarray]]:
        """Their sections of a segment's file, without the lookup."""
        yield "ids", self.values


@dataclass(frozen=True, eq=False)
class TextIds:
    """Ids that are texts, in memory: the UTF-8 of all one after another, and where each begins."""

    offsets: UInt64[np.ndarray, " n_and_1"]
    text: UInt8[np.ndarray, " bytes"]
    kind = "string"

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of all."""
        return len(self.text)

    @cached_property
    def keys(self) -> UInt64[np.ndarray, " n"]:
        """What they are looked up by."""
        keys, whole = np.empty(len(self), np.uint64), self.text.data
        for start in range(0, len(self), _ROWS_AT_ONCE):
            spans = self.offsets[start : start + _ROWS_AT_ONCE + 1].tolist()
            keys[start : start + len(spans) - 1] = [xxhash.xxh3_64_intdigest(whole[a:b]) for a, b in pairwise(spans)]
        return keys

    def part(self, start: int, stop: int) -> TextIds:
        """Those of a range of rows."""
        cut = self.offsets[start : stop + 1]
        return TextIds(cut - cut[0], self.text[int(cut[0]) : int(cut[-1])])

    def bytes_of(self, row: int) -> bytes:
        """The UTF-8 of one."""
        return self.text[int(self.offsets[row]) : int(self.offsets[row + 1])].tobytes()

    def name(self, row: int) -> str:
        """One as a message shows it."""
        return repr(self.bytes_of(row).decode())

    def repeated(self) -> int | None:
        """The row of an id that occurs twice."""
        order = np.argsort(self.keys, kind="stable")
        again = np.flatnonzero(self.keys[order[1:]] == self.keys[order[:-1]])
        if not len(again):
            return None
        seen: set[bytes] = set()
        for row in np.unique(np.concatenate([order[again], order[again + 1]])).tolist():
            if self.bytes_of(row) in seen:
                return row
            seen.add(self.bytes_of(row))
        return None

    def chunks(self) -> Iterator[tuple[str, np.ndarray]]:
        """Their sections of a segment's file, without the lookup."""
        yield "id_offsets", self.offsets
        yield "id_text", self.text


Ids = WholeIds | TextIds


@dataclass(frozen=True)
class NextIds:
    """The numbers from `start` on, one for each of `count` rows, made when they are asked for."""

    start: int
    count: int
    kind = "int64"
    text_bytes = 0

    def __len__(self) -> int:
        return self.count

    def part(self, start: int, stop: int) -> WholeIds:
        """Those of a range of rows."""
        return WholeIds(np.arange(self.start + start, self.start + min(stop, self.count), dtype=np.int64))


def joined(kind: str, several: Sequence[Ids]) -> Ids:
    """Ids one after another."""
    if kind == "int64":
        return WholeIds(np.concatenate([np.empty(0, np.int64), *(cast(WholeIds, ids).values for ids in several)]))
    texts = [cast(TextIds, ids) for ids in several]
    lengths = np.concatenate([np.empty(0, np.uint64), *(np.diff(ids.offsets) for ids in texts)])
    return TextIds(_offsets(lengths), np.concatenate([np.empty(0, np.uint8), *(ids.text for ids in texts)]))


def sections(kind: str, rows: int, text_bytes: int) -> list[Section]:
    """The arrays in which a segment holds its ids."""
    lookup = [Section("keys", np.dtype(np.uint64), (rows,)), Section("key_rows", np.dtype(np.uint32), (rows,))]
    if kind == "int64":
        return [Section("ids", np.dtype(np.int64), (rows,)), *lookup]
    offsets = Section("id_offsets", np.dtype(np.uint64), (rows + 1,))
    return [offsets, Section("id_text", np.dtype(np.uint8), (text_bytes,)), *lookup]


def chunks(ids: Ids) -> Iterator[tuple[str, np.ndarray]]:
    """All sections of `sections`."""
    yield from ids.chunks()
    keys = ids.keys
    if ascending(keys):
        yield "keys", keys
        for start in range(0, len(keys), _ROWS_AT_ONCE):
            yield "key_rows", np.arange(start, min(start + _ROWS_AT_ONCE, len(keys)), dtype=np.uint32)
        return
    order = np.argsort(keys, kind="stable")
    yield "keys", keys[order]
    yield "key_rows", order.astype(np.uint32)


def ascending(values: Shaped[np.ndarray, " n"]) -> bool:
    """Whether each is larger than the one before."""
    return bool((values[1:] > values[:-1]).all())


# --- as they come in ---------------------------------------------------------------------------------------


def normalised(ids: Any, kind: str | None) -> Ids:
    """What a caller gives as ids, checked.

    Args:
        ids: a list of int or str, or an array of integers or texts.
        kind: "int64" or "string"; None takes either.

    Raises:
        InputError: neither integers ≥ 0 nor texts, or not of the index's kind.
        ShapeError: not one-dimensional.
    """
    given = _array(ids)
    if given.ndim != 1:
        raise ShapeError.of("ids", "one-dimensional", f"shape {given.shape}")
    if given.size == 0:
        return texts([]) if kind == "string" else WholeIds(np.empty(0, np.int64))
    found = "int64" if given.dtype.kind in "iu" else "string"
    if kind is not None and found != kind:
        raise InputError.of("ids", f"{_KINDS[kind]}, as those of the index", _KINDS[found])
    return texts(given.tolist()) if found == "string" else WholeIds(_checked_whole(given))


def texts(values: Sequence[Any]) -> TextIds:
    """Texts as ids.

    Raises:
        InputError: one of them is not a text that UTF-8 can hold.
    """
    lengths, text = np.empty(len(values), np.uint64), bytearray()
    for start in range(0, len(values), _ROWS_AT_ONCE):
        encoded = [_encoded(value) for value in values[start : start + _ROWS_AT_ONCE]]
        lengths[start : start + len(encoded)] = [len(part) for part in encoded]
        text += b"".join(encoded)
    return TextIds(_offsets(lengths), np.frombuffer(text, np.uint8))


def _encoded(value: object) -> bytes:
    if not isinstance(value, str):
        raise InputError.of("ids", "all whole numbers or all texts", f"{value!r} among texts")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InputError.of("ids", "texts that UTF-8 can hold", ascii(value), "Remove its surrogates.") from None


def _offsets(lengths: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n_and_1"]:
    offsets = np.zeros(len(lengths) + 1, np.uint64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _array(ids: object) -> np.ndarray:
    """As an array of integers, of objects that are texts, or empty; NumPy alone would make texts of numbers."""
    if isinstance(ids, str | bytes):
        raise InputError.of("ids", "a list, one for each vector", repr(ids)[:100])
    if isinstance(ids, list | tuple) and any(isinstance(value, str) for value in cast(list[object], ids)):
        return np.array(cast(list[object], ids), object)
    try:
        given: np.ndarray = np.asarray(cast(Any, ids))
    except (ValueError, TypeError, OverflowError):
        given = np.array([None], object)  # no ids
    if given.dtype.kind in "UT":
        return given.astype(object)
    texts_only = given.dtype == object and all(isinstance(value, str) for value in given.flat)
    if given.size and given.dtype.kind not in "iu" and not texts_only:
        raise InputError.of("ids", "whole numbers that int64 can hold, or texts", repr(cast(Any, ids))[:100])
    return given


def _checked_whole(given: np.ndarray) -> Int64[np.ndarray, " n"]:
    if given.dtype == np.uint64 and (above := given > np.iinfo(np.int64).max).any():
        raise InputError.of("ids", "numbers that int64 can hold", given[above][0])
    values = np.ascontiguousarray(given, np.int64)
    if (values < 0).any():
        raise InputError.of("ids", "not negative", values[values < 0][0], "−1 marks an empty place in hits.")
    return values


# --- as a segment holds them -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class WholeColumn:
    """The int64 ids of a segment, mapped."""

    values: Int64[np.ndarray, " n"]
    keys: UInt64[np.ndarray, " n"]
    key_rows: UInt32[np.ndarray, " n"]

    def at(self, rows: Int64[np.ndarray, " b"]) -> Int64[np.ndarray, " b"]:
        """The ids of rows."""
        return self.values[rows]

    def taken(self, rows: slice | Int64[np.ndarray, " b"]) -> WholeIds:
        """The ids of rows, to be written again."""
        return WholeIds(np.ascontiguousarray(self.values[rows]))

    def find(self, wanted: WholeIds) -> Int64[np.ndarray, " b"]:
        """The row of each id; −1 where there is none."""
        at, same = _first(self.keys, wanted.keys)
        rows = self.key_rows[at].astype(np.int64)
        same &= rows < len(self.values)
        same &= self.values[np.where(same, rows, 0)] == wanted.values
        return np.where(same, rows, -1)


@dataclass(frozen=True, eq=False)
class TextColumn:
    """The string ids of a segment, mapped."""

    offsets: UInt64[np.ndarray, " n_and_1"]
    text: UInt8[np.ndarray, " bytes"]
    keys: UInt64[np.ndarray, " n"]
    key_rows: UInt32[np.ndarray, " n"]
    path: Path

    def at(self, rows: Int64[np.ndarray, " b"]) -> Shaped[np.ndarray, " b"]:
        """The ids of rows, an array of str objects.

        Raises:
            CorruptIndexError: what is there is no text.
        """
        different, back = np.unique(rows, return_inverse=True)
        spans = zip(*(a.tolist() for a in self._spans(different)), strict=True)
        found = np.empty(len(different), object)
        try:
            found[:] = [self.text[start:stop].tobytes().decode() for start, stop in spans]
        except UnicodeDecodeError as error:
            raise damaged(self.path, "an id in it is not UTF-8") from error
        return found[back]

    def taken(self, rows: slice | Int64[np.ndarray, " b"]) -> TextIds:
        """The ids of rows, to be written again."""
        chosen = np.arange(len(self.keys))[rows] if isinstance(rows, slice) else rows
        starts, stops = self._spans(chosen)
        offsets = _offsets((stops - starts).astype(np.uint64))
        text = np.empty(int(offsets[-1]), np.uint8)
        for first in range(0, len(chosen), _ROWS_AT_ONCE):
            cut = slice(first, first + _ROWS_AT_ONCE)
            lengths = stops[cut] - starts[cut]
            begin = offsets[first : first + len(lengths)].astype(np.int64)
            into = slice(int(begin[0]), int(begin[0] + lengths.sum()))
            text[into] = self.text[np.repeat(starts[cut] - begin, lengths) + np.arange(into.start, into.stop)]
        return TextIds(offsets, text)

    def find(self, wanted: TextIds) -> Int64[np.ndarray, " b"]:
        """The row of each id; −1 where there is none."""
        rows = np.full(len(wanted), -1, np.int64)
        at, same = _first(self.keys, wanted.keys)
        left = np.flatnonzero(same)
        while len(left):  # twice only where keys are equal and texts are not
            candidates = self.key_rows[at[left]].astype(np.int64)
            equal = self._equal(candidates, [wanted.bytes_of(row) for row in left.tolist()])
            rows[left[equal]] = candidates[equal]
            left = left[~equal]
            at[left] += 1
            left = left[at[left] < len(self.keys)]
            left = left[self.keys[at[left]] == wanted.keys[left]]
        return rows

    def _equal(self, rows: Int64[np.ndarray, " b"], texts: Sequence[bytes]) -> np.ndarray:
        if (rows >= len(self.keys)).any():
            raise damaged(self.path, "its section key_rows names rows that it does not have")
        spans = zip(*(a.tolist() for a in self._spans(rows, distinct=False)), texts, strict=True)
        same = (stop - start == len(t) and self.text[start:stop].tobytes() == t for start, stop, t in spans)
        return np.fromiter(same, bool, len(rows))

    def _spans(
        self, rows: Int64[np.ndarray, " b"], *, distinct: bool = True
    ) -> tuple[Int64[np.ndarray, " b"], Int64[np.ndarray, " b"]]:
        """Where the texts of rows begin and end, all within the section, distinct rows with no more than it has."""
        starts, stops = self.offsets[rows].astype(np.int64), self.offsets[rows + 1].astype(np.int64)
        wrong = (starts < 0) | (stops < starts) | (stops > len(self.text))
        if wrong.any() or (distinct and int((stops - starts).sum()) > len(self.text)):
            raise damaged(self.path, "its section id_offsets points outside of id_text")
        return starts, stops


Column = WholeColumn | TextColumn


def column(kind: str, arrays: Arrays, path: Path) -> Column:
    """The ids of an opened segment."""
    if kind == "int64":
        return WholeColumn(arrays["ids"], arrays["keys"], arrays["key_rows"])
    return TextColumn(arrays["id_offsets"], arrays["id_text"], arrays["keys"], arrays["key_rows"], path)


def _first(
    keys: UInt64[np.ndarray, " n"], wanted: UInt64[np.ndarray, " b"]
) -> tuple[Int64[np.ndarray, " b"], np.ndarray]:
    """Where each wanted key stands first, and whether it does. Sorted, so that neighbours share pages."""
    order = np.argsort(wanted, kind="stable")
    at = np.empty(len(wanted), np.int64)
    at[order] = np.searchsorted(keys, wanted[order])
    np.minimum(at, len(keys) - 1, out=at)
    return at, keys[at] == wanted
