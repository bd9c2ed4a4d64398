"""One writer at a time, and a dead one does not keep the others out."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from nestling.errors import DataError, IndexLockedError
from nestling.search.storage import lock
from nestling.search.storage.lock import writing

_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["tests.search.durability.children"])


def hold(folder: str, ready: str) -> None:
    with writing(Path(folder)):
        Path(ready).touch()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[BaseProcess]:
    process = _FORK.Process(target=hold, args=(str(tmp_path), str(tmp_path / "ready")), daemon=True)
    process.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.001)
    yield process
    process.kill()
    process.join()


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path: Path, holder: BaseProcess) -> None:
    began = time.monotonic()
    with pytest.raises(IndexLockedError, match=f"by process {holder.pid}. Wait"), writing(tmp_path, wait_s=0.05):
        raise AssertionError
    assert 0.05 <= time.monotonic() - began < 5


def test_the_lock_of_a_killed_writer_is_free(tmp_path: Path, holder: BaseProcess) -> None:
    holder.kill()
    holder.join()
    with writing(tmp_path, wait_s=0):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_writer_waits_for_its_turn(tmp_path: Path, holder: BaseProcess) -> None:
    import threading

    threading.Timer(0.1, holder.kill).start()
    with writing(tmp_path, wait_s=30):
        assert not holder.is_alive() or holder.exitcode is None


def test_threads_exclude_one_another(tmp_path: Path) -> None:
    with writing(tmp_path), pytest.raises(IndexLockedError, match=str(os.getpid())), writing(tmp_path, wait_s=0):
        raise AssertionError
    with writing(tmp_path, wait_s=0):
        pass


def test_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), writing(tmp_path):
        raise KeyboardInterrupt
    with writing(tmp_path, wait_s=0):
        pass


def test_a_folder_that_refuses(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"), writing(tmp_path / "nowhere"):
        raise AssertionError


def test_a_system_without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    with pytest.raises(IndexLockedError, match="has no flock"), writing(tmp_path):
        raise AssertionError


def test_a_damaged_lock_names_nobody(tmp_path: Path) -> None:
    with writing(tmp_path):
        (tmp_path / "lock").write_bytes(b"\xff\xffhello")
        with pytest.raises(IndexLockedError, match="process unknown"), writing(tmp_path, wait_s=0):
            raise AssertionError
