"""Ids as they come in, and the rows found by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from nestling.errors import CorruptIndexError, InputError, ShapeError
from nestling.search.storage import ids as module
from nestling.search.storage.batch import write_blocks
from nestling.search.storage.blocks import open_blocks
from nestling.search.storage.ids import Column, Ids, NextIds, TextIds, WholeIds, chunks, column, joined, normalised
from nestling.search.storage.ids import sections as id_sections


def stored(tmp_path: Path, ids: Ids) -> Column:
    sections = id_sections(ids.kind, len(ids), ids.text_bytes)
    entry = write_blocks(tmp_path, "ids", sections, chunks(ids))
    return column(ids.kind, open_blocks(tmp_path, entry, sections), tmp_path / entry.file)


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ([3, 1, 2], [3, 1, 2]),
        ((0,), [0]),
        (np.array([7, 8], np.uint8), [7, 8]),
        (np.array([7, 8], ">i4"), [7, 8]),
        (np.arange(10)[::2], [0, 2, 4, 6, 8]),
        ([np.int64(5), 2**63 - 1], [5, 2**63 - 1]),
        (range(3), [0, 1, 2]),
        ([], []),
    ],
)
def test_whole_numbers_of_any_kind(given: Any, values: list[int]) -> None:
    ids = normalised(given, None)
    assert isinstance(ids, WholeIds)
    assert ids.values.dtype == np.int64
    assert ids.values.tolist() == values


@pytest.mark.parametrize(
    "given",
    [
        ["b", "a", "été", "", "a\0"],
        np.array(["b", "a", "été"]),
        np.array(["b", "a", "été"], object),
        np.array(["b", "a"], np.dtypes.StringDType()),
        ("x",),
    ],
)
def test_texts_of_any_kind(given: Any) -> None:
    ids = normalised(given, None)
    assert isinstance(ids, TextIds)
    assert [ids.bytes_of(row).decode() for row in range(len(ids))] == list(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("abc", "a list, one for each vector"),
        (b"abc", "a list"),
        ([1, "a"], "1 among texts"),
        (["a", None], "None among texts"),
        ([b"a"], "whole numbers"),
        ([1.5, 2.0], "whole numbers"),
        ([True, False], "whole numbers"),
        ([2**63], "int64 can hold"),
        ([2**70, 1], "int64 can hold"),
        ([-1, 5], "not negative; got -1"),
        ([[1, 2], [3]], "whole numbers"),
        (["\ud800"], "UTF-8"),
        ([None], "whole numbers"),
        ({"a": 1}, "whole numbers"),
        (np.array([1, "a"], object), "whole numbers"),
    ],
)
def test_what_are_no_ids(given: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        normalised(given, None)


def test_ids_of_another_kind_or_shape() -> None:
    with pytest.raises(InputError, match="must be texts, as those of the index; got whole numbers"):
        normalised([1], "string")
    with pytest.raises(InputError, match="must be whole numbers, as those of the index; got texts"):
        normalised(["1"], "int64")
    with pytest.raises(ShapeError, match="one-dimensional"):
        normalised(np.zeros((2, 2), int), None)
    assert isinstance(normalised([], "string"), TextIds)


@pytest.mark.parametrize(
    ("given", "name"),
    [([1, 2, 1], "1"), ([5, 5], "5"), (["x", "y", "x"], "'x'"), (["", ""], "''")],
)
def test_an_id_that_occurs_twice(given: Any, name: str) -> None:
    ids = normalised(given, None)
    row = ids.repeated()
    assert row is not None
    assert ids.name(row) == name


def test_ids_that_occur_once() -> None:
    for some in ([1, 2, 3], [3, 1, 2], [], ["a", "b"], [0]):
        assert normalised(some, None).repeated() is None


@given(st.lists(st.integers(0, 2**63 - 1), unique=True, min_size=1), st.lists(st.integers(0, 2**63 - 1)))
def test_numbers_are_found(tmp_path_factory: pytest.TempPathFactory, there: list[int], others: list[int]) -> None:
    ids = WholeIds(np.array(there, np.int64))
    opened = stored(tmp_path_factory.mktemp("ids"), ids)
    wanted = there[::-1] + others
    expected = [there.index(i) if i in there else -1 for i in wanted]
    assert opened.find(WholeIds(np.array(wanted, np.int64))).tolist() == expected  # pyright: ignore
    assert opened.at(np.arange(len(there))).tolist() == there


TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)


@given(st.lists(TEXTS, unique=True, min_size=1), st.lists(TEXTS))
def test_texts_are_found(tmp_path_factory: pytest.TempPathFactory, there: list[str], others: list[str]) -> None:
    opened = stored(tmp_path_factory.mktemp("ids"), module.texts(there))
    wanted = there[::-1] + others
    expected = [there.index(i) if i in there else -1 for i in wanted]
    assert opened.find(module.texts(wanted)).tolist() == expected  # pyright: ignore
    assert opened.at(np.arange(len(there))[::-1]).tolist() == there[::-1]
    some = np.arange(0, len(there), 2)
    assert [opened.taken(some).name(i) for i in range(len(some))] == [repr(t) for t in there[::2]]  # pyright: ignore


def test_texts_of_equal_keys_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """xxh3_64 collides once in 2³² ids or so; here it always does."""
    monkeypatch.setattr(xxhash, "xxh3_64_intdigest", lambda data: len(bytes(data)))
    there = ["aa", "b", "cc", "d", "ee", "f", "longest"]
    ids = module.texts(there)
    assert ids.repeated() is None
    assert module.texts([*there, "cc"]).repeated() is not None
    opened = stored(tmp_path, ids)
    assert opened.find(module.texts([*there[::-1], "zz", "z", "zzz"])).tolist() == [6, 5, 4, 3, 2, 1, 0, -1, -1, -1]  # pyright: ignore


def test_ids_one_after_another() -> None:
    ids = joined("string", [module.texts(["a", "bc"]), module.texts([]), module.texts(["", "def"])])
    assert [ids.name(i) for i in range(4)] == ["'a'", "'bc'", "''", "'def'"]
    assert ids.part(1, 4).name(2) == "'def'"
    assert ids.part(1, 4).text_bytes == 5
    whole = joined("int64", [WholeIds(np.array([5, 4])), WholeIds(np.array([9]))])
    assert isinstance(whole, WholeIds)
    assert whole.values.tolist() == [5, 4, 9]
    assert len(joined("string", [])) == 0


def test_numbers_that_are_made_when_asked_for() -> None:
    ids = NextIds(100, 10)
    assert len(ids) == 10
    assert ids.part(8, 20).values.tolist() == [108, 109]


def test_many_texts_are_taken_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 3)
    there = [f"{i}" * (i % 4) + f"-{i}" for i in range(20)]
    opened = stored(tmp_path, module.texts(there))
    rows = np.array([1, 2, 3, 5, 8, 13, 19])
    taken = opened.taken(rows)
    assert [taken.name(i) for i in range(len(rows))] == [repr(there[i]) for i in rows]


# --- damage that nothing but use finds -------------------------------------------------------------------


def test_damaged_numbers_name_rows_that_are_there(tmp_path: Path) -> None:
    values, keys = np.arange(5), np.arange(5).astype(np.uint64)
    for rows in ([9, 9, 9, 9, 9], [4, 3, 2, 1, 0], [2**32 - 1] * 5):
        opened = column("int64", {"ids": values, "keys": keys, "key_rows": np.array(rows, np.uint32)}, tmp_path)
        found = opened.find(WholeIds(values))  # pyright: ignore
        assert ((found == -1) | (found == np.arange(5))).all()
    unsorted = {"ids": values, "keys": keys[::-1].copy(), "key_rows": np.arange(5, dtype=np.uint32)}
    found = column("int64", unsorted, tmp_path).find(WholeIds(values))  # pyright: ignore
    assert ((found == -1) | (found == np.arange(5))).all()


@pytest.mark.parametrize(
    "offsets",
    [[0, 2, 99, 3], [0, 2, 1, 3], [0, 2**63, 3, 3], [2**64 - 1, 0, 1, 3], [3, 2, 1, 0], [0, 0, 0, 4]],
)
def test_damaged_texts_are_not_read_from_outside(tmp_path: Path, offsets: list[int]) -> None:
    ids = module.texts(["a", "b", "c"])
    lookup = dict(chunks(ids))
    opened = column("string", {**lookup, "id_offsets": np.array(offsets, np.uint64)}, tmp_path / "file")
    for use in (lambda: opened.at(np.arange(3)), lambda: opened.taken(slice(None))):
        with pytest.raises(CorruptIndexError, match="file is damaged: its section id_offsets"):
            use()


def test_damaged_texts_take_no_more_than_there_is(tmp_path: Path) -> None:
    """Each of a thousand ids may claim all of the text: together they would be a thousand texts."""
    offsets = np.array([0, 1000] * 500 + [0], np.uint64)
    arrays = {"id_offsets": offsets, "id_text": np.zeros(1000, np.uint8)}
    lookup = {"keys": np.zeros(1000, np.uint64), "key_rows": np.zeros(1000, np.uint32)}
    opened = column("string", {**arrays, **lookup}, tmp_path / "file")
    with pytest.raises(CorruptIndexError, match="id_offsets"):
        opened.at(np.arange(0, 1000, 2))
    assert len(opened.at(np.zeros(50, np.int64))[0]) == 1000  # one text, fifty times the same object


def test_damaged_lookups_of_texts(tmp_path: Path) -> None:
    ids = module.texts(["a", "b", "c"])
    lookup = dict(chunks(ids))
    far = column("string", {**lookup, "key_rows": np.array([7, 7, 7], np.uint32)}, tmp_path / "file")
    with pytest.raises(CorruptIndexError, match="key_rows names rows that it does not have"):
        far.find(ids)  # pyright: ignore
    bad = column("string", {**lookup, "id_text": np.array([255, 254, 253], np.uint8)}, tmp_path / "file")
    with pytest.raises(CorruptIndexError, match="not UTF-8"):
        bad.at(np.arange(3))
