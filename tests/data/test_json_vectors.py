"""Vectors written as JSON, and what is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.data import read_json_vectors
from nestling.errors import DataError

rows = st.integers(1, 4).flatmap(
    lambda d: st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32) | st.integers(-9, 9), min_size=d, max_size=d), min_size=1, max_size=5
    )
)


@given(rows, st.sampled_from(["\n", " ", "\r\n\n", "\t"]), st.sampled_from([None, 2]))
def test_lines_and_one_array_are_the_same_vectors(vectors: list[list[float]], between: str, indent: int | None) -> None:
    wanted = np.array(vectors, np.float32)
    for text in (
        between.join(json.dumps(row, indent=indent) for row in vectors),
        json.dumps(vectors, indent=indent),
        f" {json.dumps(vectors[:1])}{between}{between.join(json.dumps(row) for row in vectors[1:])}\n",
    ):
        read = read_json_vectors(text)
        assert read.dtype == np.float32
        assert np.array_equal(read, wanted)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "standard input holds no vector. Write one vector a line, such as [0.5"),
        (" \n", "holds no vector"),
        ("[]", "something else than arrays of numbers in value 0"),
        ("[1, 2]\n{}", "something else than arrays of numbers in value 1"),
        ("[1]\n[2] x", "standard input is no JSON: Expecting value: line 2 column 5"),
        ("[1, 2", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('["1"]', "something else than arrays of numbers"),
        ("[true]", "something else than arrays of numbers"),
        ("[null]", "something else than arrays of numbers"),
        ("[[[1]]]", "something else than arrays of numbers"),
        ("[[1], 2]", "something else than arrays of numbers"),
        ("3", "something else than arrays of numbers"),
        ("[1, 2]\n[1]", "unequal length: 2 numbers in vector 0, 1 in vector 1"),
        ("[1]\n[NaN]", "NaN, infinity or numbers too large in vector 1"),
        ("[1e39]", "NaN, infinity or numbers too large in vector 0"),
        (f"[1{'0' * 400}]", "NaN, infinity or numbers too large in vector 0"),
    ],
)
def test_errors_say_what_is_wrong(text: str, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        read_json_vectors(text, "standard input")
    assert sentence in str(caught.value)
