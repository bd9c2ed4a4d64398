"""A file gets into the cache whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from nestling.data.cache import check_sha256, data_folder, replacing, write_file
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


def interrupted_write(path: Path) -> None:
    with replacing(path) as stream:
        stream.write(b"half of the new")
        stream.flush()
        assert path.read_bytes() == b"old"
        raise KeyboardInterrupt


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.bin"
    write_file(path, b"old")
    with pytest.raises(KeyboardInterrupt):
        interrupted_write(path)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_the_file_has_the_permissions_of_an_ordinary_one(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_the_bytes_are_on_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda a, b: (events.append("rename"), replace(a, b))[1])
    write_file(tmp_path / "a", b"x")
    assert events == ["fsync", "rename", "fsync"]


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be written: .*\. Choose another folder"):
        write_file(tmp_path / "file" / "below", b"")


def test_the_checksum_error_names_the_file() -> None:
    check_sha256(b"abc", hashlib.sha256(b"abc").hexdigest(), name="x")
    with pytest.raises(ChecksumError, match=r"some/file is damaged.*Delete it"):
        check_sha256(b"abd", hashlib.sha256(b"abc").hexdigest(), name="some/file")
