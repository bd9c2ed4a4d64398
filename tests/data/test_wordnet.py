"""WordNet's glosses: from the cache, from the system, damaged, not there."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from nestling.data import data_folder, wordnet
from nestling.data.wordnet import CLASSES, Glosses
from nestling.errors import ChecksumError, DataError


@pytest.fixture(scope="module")
def glosses() -> Glosses:
    try:
        return wordnet()
    except DataError as error:
        pytest.skip(str(error))


def test_every_synset_has_a_gloss_a_word_and_a_class(glosses: Glosses) -> None:
    assert len(glosses) == len(glosses.words) == len(glosses.labels) == 117_659
    assert all(glosses.texts)
    assert all(words and all(words) for words in glosses.words)
    counts = np.bincount(glosses.labels, minlength=len(CLASSES))
    assert len(counts) == 45
    assert (counts > 0).all()
    assert counts[CLASSES.index("noun.animal")] == 7509
    assert counts[CLASSES.index("verb.weather")] == 81


def test_known_synsets_read_as_in_the_dictionary(glosses: Glosses) -> None:
    at = next(i for i, words in enumerate(glosses.words) if words[:2] == ("breathe", "take a breath"))
    assert glosses.texts[at].startswith("draw air into, and expel out of, the lungs;")
    assert CLASSES[glosses.labels[at]] == "verb.body"
    assert not any("(" in word for words in glosses.words for word in words)


def test_a_damaged_file_is_passed_over_and_named(
    glosses: Glosses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["nestling.data.wordnet"]
    whole = data_folder() / "wordnet"
    if not whole.is_dir():
        whole = module.SYSTEM_FOLDER
    cache = tmp_path / "wordnet"
    cache.mkdir()
    for file in whole.glob("data.*"):
        (cache / file.name).write_bytes(file.read_bytes())
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path))
    monkeypatch.setattr(module, "SYSTEM_FOLDER", tmp_path / "none")
    assert wordnet(fetch=False).texts == glosses.texts
    bad = bytearray((cache / "data.verb").read_bytes())
    bad[5000] ^= 1
    (cache / "data.verb").write_bytes(bad)
    said: list[str] = []
    with pytest.raises(ChecksumError, match=r"data\.verb is damaged"):
        wordnet(fetch=False, say=said.append)
    assert said == [f"{cache / 'data.verb'} is damaged and is passed over."]


def test_without_files_one_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys.modules["nestling.data.wordnet"], "SYSTEM_FOLDER", tmp_path / "none")
    with pytest.raises(DataError, match=r"not fetched \(apt-get is not on this machine\.\)\. Install Debian's"):
        wordnet()
