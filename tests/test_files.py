"""A file is the old one or the new one, never a part."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nestling.errors import DataError
from nestling.files import replacing, sweep, write_file


def interrupted_write(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"half of the new")
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


def test_sweep_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / ".a.0123.unfinished").write_bytes(b"half")
    write_file(tmp_path / "a", "whole, été")
    (tmp_path / ".tmpJQJqk2").write_bytes(b"as safetensors begins a file")
    sweep(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text(encoding="utf-8") == "whole, été"
