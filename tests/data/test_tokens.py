"""Texts to token ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers

from nestling.data.tokens import Tokenizer
from nestling.errors import DataError, InputError
from nestling.models.encoders.text import minilm


def test_texts_are_read_as_the_model_s_own_tokenizer_reads_them(tmp_path: Path) -> None:
    texts = ["A small furry animal.", "", "The quick brown fox jumps over the lazy dog " * 4]
    tokenizer = Tokenizer.load(minilm())
    ids = tokenizer.read(texts, 16)
    theirs = transformers.AutoTokenizer.from_pretrained(str(minilm()))
    wanted = theirs(texts, padding=True, truncation=True, max_length=16, return_tensors="np")["input_ids"]
    assert np.array_equal(ids, wanted)
    assert (tokenizer.mask, tokenizer.padding, tokenizer.size) == (103, 0, 30_522)
    assert {0, 101, 102, 103} <= set(tokenizer.special)
    with pytest.raises(DataError, match="holds no tokenizer"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="holds no tokenizer"):
        Tokenizer.load(tmp_path)
    with pytest.raises(InputError, match="texts must be at least one"):
        tokenizer.read([])
