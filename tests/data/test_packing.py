"""Rows of texts side by side, against what must be in them."""

from __future__ import annotations

import numpy as np
import pytest

from nestling.data.packing import pack, packed
from nestling.data.tokens import Tokenizer
from nestling.errors import InputError
from nestling.models.encoders.text import minilm

LENGTH = 12


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(minilm())


def _texts(row: np.ndarray, tokenizer: Tokenizer) -> list[list[int]]:
    """A row's texts; it must be [CLS] text [SEP] … [PAD]."""
    ids = list(row)
    assert ids[0] == tokenizer.first
    while ids[-1] == tokenizer.padding:
        ids.pop()
    assert ids[-1] == tokenizer.last
    found, text = list[list[int]](), list[int]()
    for one in ids[1:]:
        if one == tokenizer.last:
            found, text = [*found, text], []
        else:
            text.append(int(one))
    return found


def test_every_token_of_every_text_stands_in_the_rows_in_order(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(["dog", "cat", "tree"][i % 3] for i in range(n)) for n in rng.integers(0, 40, 50)]
    rows = pack(texts, tokenizer, LENGTH)
    wanted = [one for ids in tokenizer.pieces(texts) for one in ids]
    found = [one for row in rows for text in _texts(row, tokenizer) for one in text]
    assert found == wanted
    assert rows.shape[1] == LENGTH
    assert np.array_equal(np.concatenate(list(packed(texts, tokenizer, LENGTH))), rows)


def test_a_short_text_is_never_cut_and_a_long_one_fills_its_row(tokenizer: Tokenizer) -> None:
    three, five, twelve = (" ".join(["dog"] * n) for n in (3, 5, 12))
    assert [list(map(len, _texts(row, tokenizer))) for row in pack([three, five, five], tokenizer, LENGTH)] == [
        [3, 5],
        [5],
    ]
    assert [list(map(len, _texts(row, tokenizer))) for row in pack([five, five], tokenizer, LENGTH)] == [[5], [5]]
    assert [list(map(len, _texts(row, tokenizer))) for row in pack([three, twelve], tokenizer, LENGTH)] == [
        [3, 6],
        [6],
    ]


def test_what_cannot_be_packed_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="texts must be at least one that is not empty"):
        pack(["", " "], tokenizer, LENGTH)
    with pytest.raises(InputError, match="length must be at least 8 tokens"):
        pack(["a"], tokenizer, 7)
