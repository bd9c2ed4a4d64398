"""Where fetched data lives, and whether it is what was published."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from nestling.data.cache import check_sha256, data_folder
from nestling.errors import ChecksumError, DataError


def test_the_variable_wins_over_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NESTLING_DATA", str(tmp_path / "here"))
    assert data_folder() == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NESTLING_DATA", "~/there")
    assert data_folder() == tmp_path / "there"
    monkeypatch.setenv("NESTLING_DATA", "")
    assert data_folder() == tmp_path / ".cache" / "nestling"
    assert list(tmp_path.iterdir()) == []  # asking creates nothing


def test_without_a_home_the_sentence_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NESTLING_DATA", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DataError, match="Set NESTLING_DATA"):
        data_folder()


def test_the_checksum_error_names_the_file() -> None:
    check_sha256(b"abc", hashlib.sha256(b"abc").hexdigest(), name="x")
    with pytest.raises(ChecksumError, match=r"some/file is damaged.*Delete it"):
        check_sha256(b"abd", hashlib.sha256(b"abc").hexdigest(), name="some/file")
