"""Rows and their JSON lines."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.errors import DataError, InputError
from nestling.evaluation import Row, dump_rows, load_rows, read_rows, save_rows

numbers = st.one_of(st.floats(allow_infinity=False), st.just(math.nan))
# Lone surrogates are no text that UTF-8 could hold.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
rows = st.builds(
    Row,
    system=texts,
    metric=texts,
    value=numbers,
    unit=texts,
    n=st.integers(0, 10**9),
    dims=st.none() | st.integers(1, 4096),
    plan=st.none() | texts,
    group=st.none() | texts,
    interval=st.none() | st.tuples(numbers, numbers),
)


@given(st.lists(rows, max_size=5))
def test_load_is_the_inverse_of_dump(given_rows: list[Row]) -> None:
    text = dump_rows(given_rows)
    assert load_rows(text) == given_rows
    assert len(text.split("\n")) == len(given_rows) + 1
    for line in text.split("\n")[:-1]:
        json.loads(line, parse_constant=pytest.fail)  # a bare NaN or Infinity is no JSON


def test_files(tmp_path: Path) -> None:
    given_rows = [
        Row(system="MRL", metric="map@10", value=0.5, unit="fraction", n=3, plan="16:200,512:10", interval=(0.4, 0.6)),
        Row(system="FF—é\u2028", metric="1nn_top1", value=math.nan, unit="fraction", n=0, dims=8),
    ]
    save_rows(given_rows, tmp_path / "rows.jsonl")
    assert read_rows(tmp_path / "rows.jsonl") == given_rows
    first, second = (tmp_path / "rows.jsonl").read_bytes().decode().strip("\n").split("\n")
    assert json.loads(first)["interval"] == [0.4, 0.6]
    assert json.loads(second)["value"] is None
    assert "plan" not in json.loads(second)


def test_rows_differ_where_any_field_does() -> None:
    row = Row(system="a", metric="b", value=math.nan, unit="c", n=1)
    assert row == Row(system="a", metric="b", value=math.nan, unit="c", n=1)
    assert hash(row) == hash(Row(system="a", metric="b", value=math.nan, unit="c", n=1))
    assert row != Row(system="a", metric="b", value=0.0, unit="c", n=1)
    assert row != Row(system="a", metric="b", value=math.nan, unit="c", n=1, dims=3)
    assert row != "a row"


def test_numbers_of_numpy_become_plain_ones(as_a_user: None) -> None:
    row = Row(system="a", metric="b", value=np.float32(0.5), unit="c", n=np.int64(3))  # type: ignore[arg-type]
    assert Row.from_json(row.to_json()) == row


def test_what_a_row_refuses() -> None:
    with pytest.raises(InputError, match="value must be finite, or NaN where there is no number; got inf"):
        Row(system="a", metric="b", value=math.inf, unit="c", n=1)
    with pytest.raises(InputError, match="interval must be finite"):
        Row(system="a", metric="b", value=0.0, unit="c", n=1, interval=(0.0, math.inf))
    with pytest.raises(InputError, match="n must be at least 0; got -1"):
        Row(system="a", metric="b", value=0.0, unit="c", n=-1)


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", '{"system": "a"}', '{"system":"a","metric":"b","value":1,"unit":"c","n":1,"x":2}']
)
def test_what_is_no_row(text: str) -> None:
    with pytest.raises(DataError, match="A row must be a JSON object of system, metric, value"):
        load_rows(text)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as rows"):
        read_rows(tmp_path / "none.jsonl")
