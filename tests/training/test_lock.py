"""Two processes and one folder: the second is refused or waits, and a kill leaves nothing locked."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from nestling.errors import DataError, RunLockedError
from nestling.training import lock
from nestling.training.lock import LOCK, FolderLock, refusing, waiting
from tests.training import small

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.training.small", "tests.training.test_lock"])


def _hold(folder: str, seconds: float) -> None:
    with waiting(Path(folder), lambda _: None):
        (Path(folder) / "held").touch()
        time.sleep(seconds)
        (Path(folder) / "made").touch()


def _started(target: object, *arguments: object, **more: object) -> BaseProcess:
    process = _SERVER.Process(target=target, args=arguments, kwargs=more, daemon=True)  # type: ignore[arg-type]
    process.start()
    return process


def _until(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.005)


def _ended(process: BaseProcess) -> None:
    process.kill()
    process.join()


def test_a_folder_that_is_trained_in_refuses_a_second_run_until_the_first_is_killed(tmp_path: Path) -> None:
    first = _started(small.train, str(tmp_path), False, epochs=100_000, checkpoint_every=1)
    try:
        _until(tmp_path / "checkpoint-000000002.safetensors")
        for resume in (False, True):
            with pytest.raises(RunLockedError, match=rf"is being trained in by process {first.pid} on .* Wait for it"):
                small.train(tmp_path, resume, epochs=100_000, checkpoint_every=1)
        assert first.is_alive()
    finally:
        _ended(first)
    with refusing(tmp_path, pytest.fail):
        pass


def test_a_run_that_ends_or_fails_leaves_its_folder_free(tmp_path: Path) -> None:
    small.train(tmp_path, epochs=2)
    small.train(tmp_path, True, epochs=2)
    with pytest.raises(DataError, match="was made with"):
        small.train(tmp_path, True, epochs=3)
    with refusing(tmp_path, pytest.fail):
        pass


def test_who_waits_is_told_for_whom_and_goes_on_after_it(tmp_path: Path) -> None:
    first, said = _started(_hold, str(tmp_path), 0.4), list[str]()
    _until(tmp_path / "held")
    with waiting(tmp_path, said.append):
        assert (tmp_path / "made").exists()
    assert len(said) == 1
    assert said[0].startswith(f"Process {first.pid} on {os.uname().nodename} is making {tmp_path.name}: waiting")
    first.join()


def test_who_waits_for_a_killed_process_goes_on_at_once(tmp_path: Path) -> None:
    first = _started(_hold, str(tmp_path), 600)
    _until(tmp_path / "held")
    second = _started(_hold, str(tmp_path), 0)
    time.sleep(0.1)
    assert second.is_alive()
    _ended(first)
    second.join(60)
    assert second.exitcode == 0
    assert (tmp_path / "made").exists()


def test_a_child_that_was_forked_does_not_keep_the_lock(tmp_path: Path) -> None:
    own = FolderLock(tmp_path, pytest.fail)
    assert own.take()
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
    child.start()
    try:
        own.release()
        with refusing(tmp_path, pytest.fail):
            pass
    finally:
        _ended(child)


def test_where_there_are_no_locks_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "fcntl", None)  # as on Windows
    said: list[str] = []
    with refusing(tmp_path, said.append), refusing(tmp_path, said.append):
        pass
    assert [f"{tmp_path} cannot be locked" in text for text in said] == [True, True]
    assert errno.ENOSYS in lock._NO_LOCKS


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be made"), refusing(tmp_path / "file", pytest.fail):
        pass
    (tmp_path / LOCK).mkdir()
    with pytest.raises(DataError, match="cannot be made"), refusing(tmp_path, pytest.fail):
        pass
