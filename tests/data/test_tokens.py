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


def test_roberta_s_tokenizer_is_read_as_its_own(tmp_path: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer

    texts = ["A small furry animal.", "", "The quick brown fox jumps over the lazy dog " * 4]
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    reader = ByteLevelBPETokenizer()
    reader.train_from_iterator(texts, vocab_size=320, special_tokens=words, show_progress=False)
    reader.save_model(str(tmp_path))
    theirs = transformers.RobertaTokenizerFast(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    theirs.save_pretrained(str(tmp_path))
    tokenizer = Tokenizer.load(tmp_path)
    wanted = theirs(texts, padding=True, truncation=True, max_length=16, return_tensors="np")["input_ids"]
    assert np.array_equal(tokenizer.read(texts, 16), wanted)
    assert (tokenizer.first, tokenizer.padding, tokenizer.last, tokenizer.mask) == (0, 1, 2, 4)
    (tmp_path / "tokenizer.json").write_text((tmp_path / "tokenizer.json").read_text().replace("<mask>", "<hide>"))
    with pytest.raises(DataError, match="has no <mask>"):
        Tokenizer.load(tmp_path)
