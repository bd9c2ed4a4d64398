"""Pictures with captions, and texts, in folders that `datasets` itself wrote."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from nestling.data import View, saved_captions, text_files
from nestling.data.saved.captioned import SavedCaptions
from nestling.data.tokens import Tokenizer
from nestling.errors import DataError, InputError
from nestling.models.encoders.text import minilm
from tests.data.saved.test_pictures import datasets, seen, shade

VIEW = View(side=8, channels=3)


def pairs(count: int, caption: str = "caption") -> datasets.Dataset:
    features = datasets.Features({"image": datasets.Image(), caption: datasets.Value("string")})
    table = {"image": [shade(row) for row in range(count)], caption: [f"a  number {row}" for row in range(count)]}
    return datasets.Dataset.from_dict(table, features=features)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(minilm())


def check(found: SavedCaptions, tokenizer: Tokenizer, wanted: list[int]) -> None:
    """Every picture has its own caption."""
    assert seen(found) == wanted
    for row, number in enumerate(wanted):
        assert np.array_equal(found.one(row, 0, None).target, tokenizer.filled(f"a number {number}", 8))


def test_captions_stay_with_their_pictures(tokenizer: Tokenizer, tmp_path: Path) -> None:
    pairs(30).save_to_disk(tmp_path / "all", num_shards=3)
    found, val = saved_captions(tmp_path / "all", VIEW, tokenizer=tokenizer, longest=8, val_fraction=0)
    assert val is None
    check(pickle.loads(pickle.dumps(found)), tokenizer, list(range(30)))
    train, val = saved_captions(tmp_path / "all", VIEW, tokenizer=tokenizer, longest=8, val_fraction=0.3)
    assert val is not None
    assert sorted(seen(train) + seen(val)) == list(range(30))
    assert train.fingerprint() != found.fingerprint()
    check(train, tokenizer, seen(train))
    parts = datasets.DatasetDict({"test": pairs(4), "train": pairs(6, "text")})
    parts["test"] = parts["test"].rename_column("caption", "text")
    parts.save_to_disk(tmp_path / "parts")
    train, val = saved_captions(tmp_path / "parts", VIEW, tokenizer=tokenizer, longest=8)
    assert val is not None
    assert (seen(train), seen(val)) == (list(range(6)), list(range(4)))


def test_rows_without_a_caption_are_left_out(tokenizer: Tokenizer, tmp_path: Path) -> None:
    table = {"image": [shade(row) for row in range(4)], "caption": ["a number 0", None, " ", "a number 3"]}
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    made = datasets.Dataset.from_dict(table, features=features)
    made.save_to_disk(tmp_path / "some")
    found, _ = saved_captions(tmp_path / "some", VIEW, tokenizer=tokenizer, longest=8, val_fraction=0)
    check(found, tokenizer, [0, 3])
    made.select([1, 2]).save_to_disk(tmp_path / "none")
    with pytest.raises(DataError, match="holds no captions"):
        saved_captions(tmp_path / "none", VIEW, tokenizer=tokenizer)
    made.remove_columns("caption").save_to_disk(tmp_path / "mute")
    with pytest.raises(DataError, match="should have a column of texts; it has none"):
        saved_captions(tmp_path / "mute", VIEW, tokenizer=tokenizer)


def test_texts_of_a_saved_folder(tmp_path: Path) -> None:
    made = datasets.Dataset.from_dict({"text": ["one", None, " two "], "title": ["a", "b", "c"], "n": [1, 2, 3]})
    datasets.DatasetDict({"train": made, "test": made.select([0])}).save_to_disk(tmp_path / "texts")
    assert list(text_files(tmp_path / "texts")) == ["one", "two", "one"]
    assert list(text_files(tmp_path / "texts" / "train", column="title")) == ["a", "b", "c"]
    with pytest.raises(InputError, match="column must be one of text, title; got 'n'"):
        list(text_files(tmp_path / "texts", column="n"))
    before = text_files(tmp_path / "texts").fingerprint()
    datasets.DatasetDict({"train": made, "test": made.select([1, 0])}).save_to_disk(tmp_path / "texts")
    assert text_files(tmp_path / "texts").fingerprint() != before


def test_an_order_that_is_not_the_files_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    datasets.Dataset.from_dict({"text": ["one", "two"]}).save_to_disk(folder)
    state = folder / "state.json"
    state.write_text(state.read_text().replace("{", '{"_indices_files": [{"filename": "x.arrow"}], ', 1))
    with pytest.raises(DataError, match="keeps its rows in another order"):
        list(text_files(folder))
