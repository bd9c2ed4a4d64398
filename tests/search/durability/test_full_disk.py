"""A disk that is full or fails: one sentence, the index as it was or as it was to be, and usable again afterwards."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nestling.errors import DataError
from nestling.search.index import Index
from nestling.search.storage import writer
from tests.search.durability.children import PARTS, Change, at_call, created, start, versions
from tests.search.durability.test_kill import CHANGES, calls_of, leftovers, prepared
from tests.search.storage.toy import vectors

__all__ = ["prepared"]  # a fixture


def open_handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def refusal(change: Change, index: Index) -> str:
    """Do a change; what it was refused with, if it was."""
    try:
        change.do(index)
    except DataError as error:
        return str(error)
    return ""


def failing(number: int) -> Callable[[str], None]:
    """ENOSPC and EIO in turns."""

    def fail(name: str) -> None:
        code = (errno.ENOSPC, errno.EIO)[number // 9 % 2]
        raise OSError(code, os.strerror(code))

    return fail


def assert_errors_lose_nothing(tmp_path: Path, prepared: Path, change: Change, every: int) -> None:
    shutil.copytree(prepared, tmp_path / "whole")
    calls = calls_of(tmp_path / "whole", change)
    before = versions(Index.open(prepared))
    told = tried = 0
    for number in range(1 + len(calls) % every, len(calls) + 1, every):
        tried += 1
        folder = tmp_path / str(number)
        shutil.copytree(prepared, folder)
        index = Index.open(folder)
        handles = open_handles()
        with at_call(number, failing(number)):
            outcome = refusal(change, index)
        if outcome:
            told += 1
            assert "\n" not in outcome
            assert "No space left" in outcome or "Input/output error" in outcome
        assert open_handles() <= handles + 30  # no more than what a new state maps
        found = versions(Index.open(folder, verify=True))
        assert found in ([before, change.after(before)] if outcome else [change.after(before)])
        assert leftovers(folder) <= 1
        index.refresh()
        assert versions(index) == found
        if not change.is_done(index):
            change.do(index)
        assert versions(Index.open(folder, verify=True)) == change.after(before)
        shutil.rmtree(folder)
    assert told >= max(1, tried // 3)  # the rest are removals, which nobody needs to hear of


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_an_error_at_some_calls(tmp_path: Path, prepared: Path, change: Change) -> None:
    assert_errors_lose_nothing(tmp_path, prepared, change, every=9)


@pytest.mark.soak
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_an_error_at_every_call(tmp_path: Path, prepared: Path, change: Change) -> None:
    assert_errors_lose_nothing(tmp_path, prepared, change, every=1)


def test_an_error_after_the_rename_does_not_remove_what_the_manifest_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap: the change is told as failed, although readers see it; its files must stay."""
    index = created(tmp_path / "index")
    replace, fsync, replaced = os.replace, os.fsync, []

    def fail_after(handle: int) -> None:
        if replaced:
            raise OSError(errno.EIO, "Input/output error")
        fsync(handle)

    monkeypatch.setattr(os, "replace", lambda *names: (replaced.append(1), replace(*names))[1])
    monkeypatch.setattr(os, "fsync", fail_after)
    with pytest.raises(DataError, match="Input/output error"):
        index.add(vectors([1, 2], 1), [1, 2])
    monkeypatch.undo()
    assert replaced
    assert versions(Index.open(index.path, verify=True)) == {1: 1, 2: 1}


# --- real ones ---------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("told_first", [True, False])
def test_a_full_disk(small_disk: Path, monkeypatch: pytest.MonkeyPatch, told_first: bool) -> None:
    """With and without asking for free space first."""
    if not told_first:
        monkeypatch.setattr(writer.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 1 << 60))
    index = created(small_disk / "index")
    index.derive(PARTS[0])
    there: dict[int, int] = {}
    while not (told := refusal(Change("add", list(range(len(there), len(there) + 5000)), 1), index)):
        there |= dict.fromkeys(range(len(there), len(there) + 5000), 1)
    assert ("GB more and its disk has" if told_first else "No space left on device. Choose another") in told
    assert len(there) >= 10_000
    assert versions(Index.open(index.path, verify=True)) == there
    assert leftovers(index.path) == 0
    assert index.delete(np.arange(8000)) == 8000  # a full disk has room for that
    assert len(versions(Index.open(index.path, verify=True))) == len(there) - 8000
    index.add(vectors([10**6], 2), [10**6])
    (small_disk / "more").touch()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_any_space_that_is_left(small_disk: Path, prepared: Path, change: Change) -> None:
    """From none to enough, page by page."""
    before = versions(Index.open(prepared))
    outcomes: set[str] = set()
    for pages in range(0, 40, 6):
        folder = small_disk / "index"
        shutil.copytree(prepared, folder)
        with (small_disk / "ballast").open("wb", buffering=0) as ballast:
            free = shutil.disk_usage(small_disk).free
            os.posix_fallocate(ballast.fileno(), 0, free - 4096 * pages)
        index = Index.open(folder)
        told = refusal(change, index)
        outcomes.add("refused" if told else "done")
        assert "space" in told or not told
        assert versions(Index.open(folder, verify=True)) == (before if told else change.after(before))
        (small_disk / "ballast").unlink()
        assert leftovers(folder) == 0
        shutil.rmtree(folder)
    assert outcomes == {"done", "refused"}


def limited(folder: str) -> None:
    """A process that may not write files above 64 kB: pwrite and posix_fallocate fail with EFBIG."""
    index = Index.open(folder)
    free = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, free[1]))
    index.add(vectors([1], 1), [1])
    for count in (1000, 100_000):
        with pytest.raises(DataError, match="File too large"):
            index.add(vectors(list(range(10, 10 + count)), 1))
        assert versions(Index.open(folder, verify=True)) == {1: 1}
    index.add(vectors([2], 1), [2])
    assert leftovers(Path(folder)) == 0
    resource.setrlimit(resource.RLIMIT_FSIZE, free)  # what counts the coverage writes a file when the process ends


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    created(tmp_path / "index")
    child = start(limited, str(tmp_path / "index"))
    child.join(300)
    assert child.exitcode == 0
    assert versions(Index.open(tmp_path / "index", verify=True)) == {1: 1, 2: 1}
