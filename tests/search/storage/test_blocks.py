"""A block file is what the manifest says, or it is not opened."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nestling.errors import CorruptIndexError, DataError
from nestling.search.storage import batch
from nestling.search.storage.batch import Batch, write_blocks
from nestling.search.storage.blocks import FileEntry, Section, layout, open_blocks

F32, U8 = np.dtype(np.float32), np.dtype(np.uint8)
SECTIONS = [Section("a", F32, (5, 3)), Section("none", U8, (0,)), Section("b", U8, (5000,))]
A = np.arange(15, dtype=np.float32).reshape(5, 3)
B = (np.arange(5000) % 251).astype(np.uint8)


def open_handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def chunks() -> Iterator[tuple[str, np.ndarray]]:
    yield "b", B[:4000]
    yield "a", A[:2]
    yield "a", np.asfortranarray(A[2:])
    yield "b", B[4000:]


def test_sections_begin_at_pages() -> None:
    offsets, total = layout(SECTIONS)
    assert offsets == {"a": 0, "none": 4096, "b": 4096}
    assert total == 4096 + 5000
    assert layout([]) == ({}, 0)
    assert layout([Section("huge", F32, (1 << 40, 1 << 40))])[1] == 1 << 82  # nothing overflows


def test_what_is_written_is_read(tmp_path: Path) -> None:
    entry = write_blocks(tmp_path, "Toy-8@2", SECTIONS, chunks())
    assert entry.file.endswith(".toy-8-2")
    arrays = open_blocks(tmp_path, entry, SECTIONS, verify=True)
    assert np.array_equal(arrays["a"], A)
    assert np.array_equal(arrays["b"], B)
    assert arrays["none"].shape == (0,)
    with pytest.raises(ValueError, match="read-only"):
        arrays["a"][0, 0] = 1


@pytest.mark.parametrize("at", [0, 59, 4096, 9095])
def test_a_flipped_bit_is_found_by_its_checksum(tmp_path: Path, at: int) -> None:
    entry = write_blocks(tmp_path, "x", SECTIONS, chunks())
    data = bytearray((tmp_path / entry.file).read_bytes())
    data[at] ^= 4
    (tmp_path / entry.file).write_bytes(data)
    open_blocks(tmp_path, entry, SECTIONS)
    with pytest.raises(CorruptIndexError, match="checksum of its section " + ("a" if at < 4096 else "b")):
        open_blocks(tmp_path, entry, SECTIONS, verify=True)


def test_sizes_are_compared_before_anything_is_mapped(tmp_path: Path) -> None:
    entry = write_blocks(tmp_path, "x", SECTIONS, chunks())
    path = tmp_path / entry.file
    with pytest.raises(CorruptIndexError, match="the manifest gives it 9096 bytes, its contents would take"):
        open_blocks(tmp_path, entry, [Section("a", F32, (1 << 60, 3)), *SECTIONS[1:]])
    with pytest.raises(CorruptIndexError, match="the manifest gives"):
        open_blocks(tmp_path, replace(entry, hashes={"a": entry.hashes["a"]}), SECTIONS)
    os.truncate(path, 9095)
    with pytest.raises(CorruptIndexError, match="it has 9095 bytes, not the 9096 of the manifest"):
        open_blocks(tmp_path, entry, SECTIONS)
    os.truncate(path, 9097)
    with pytest.raises(CorruptIndexError, match="9097"):
        open_blocks(tmp_path, entry, SECTIONS)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        open_blocks(tmp_path, entry, SECTIONS)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_what_is_no_file_is_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    entry = write_blocks(tmp_path, "x", SECTIONS, chunks())
    (tmp_path / entry.file).unlink()
    make(tmp_path / entry.file)
    with pytest.raises(CorruptIndexError):
        open_blocks(tmp_path, entry, SECTIONS)


def test_a_link_is_not_followed_even_to_the_right_bytes(tmp_path: Path) -> None:
    entry = write_blocks(tmp_path, "x", SECTIONS, chunks())
    (tmp_path / entry.file).rename(tmp_path / "elsewhere")
    (tmp_path / entry.file).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptIndexError, match="it is not a file"):
        open_blocks(tmp_path, entry, SECTIONS)


def test_a_refusal_of_the_system_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = write_blocks(tmp_path, "x", SECTIONS, chunks())

    def too_many(*args: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", too_many)
    with pytest.raises(DataError, match=r"cannot be opened: Too many open files\. Check") as caught:
        open_blocks(tmp_path, entry, SECTIONS)
    assert not isinstance(caught.value, CorruptIndexError)


def test_a_file_of_nothing(tmp_path: Path) -> None:
    sections = [Section("none", U8, (0, 4))]
    assert open_blocks(tmp_path, write_blocks(tmp_path, "x", sections, []), sections)["none"].shape == (0, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        [("a", A[:4]), ("b", B)],
        [("a", A), ("b", B), ("b", B[:1])],
        [("a", A.astype(np.float64)), ("b", B)],
        [("a", A[:, :2]), ("b", B)],
    ],
)
def test_chunks_must_fill_the_sections(tmp_path: Path, wrong: list[tuple[str, np.ndarray]]) -> None:
    with pytest.raises(AssertionError):
        write_blocks(tmp_path, "x", SECTIONS, wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_source_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[str, np.ndarray]]:
        yield "a", A
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_blocks(tmp_path, "x", SECTIONS, failing())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["open", "pwrite", "ftruncate", "fsync"])
def test_an_error_of_the_disk_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def failing(*args: object, **named: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(DataError, match=r"cannot be written: No space left on device\. Choose another"):
            write_blocks(tmp_path, "x", SECTIONS, chunks())
    assert list(tmp_path.iterdir()) == []


def test_large_files_are_synced_while_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "WRITE_BACK", 1000)
    syncs: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (syncs.append(handle), fsync(handle))[1])
    entry = write_blocks(tmp_path, "x", SECTIONS, chunks())
    assert len(syncs) >= 3  # one early at least, the last, the folder
    open_blocks(tmp_path, entry, SECTIONS, verify=True)


@pytest.mark.parametrize("after", [1000, 5050])
def test_an_early_sync_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The system tells an error of the disk once: the sync that hears it, even the last one, is not forgotten."""
    monkeypatch.setattr(batch, "WRITE_BACK", after)
    failed: list[int] = []
    fsync = os.fsync

    def once(handle: int) -> None:
        if not failed:
            failed.append(handle)
            raise OSError(errno.EIO, "Input/output error")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", once)
    with pytest.raises(DataError, match="Input/output error"):
        write_blocks(tmp_path, "x", SECTIONS, chunks())
    assert list(tmp_path.iterdir()) == []


def test_short_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: pwrite(handle, data[:7], at))
    entry = write_blocks(tmp_path, "x", SECTIONS, chunks())
    arrays = open_blocks(tmp_path, entry, SECTIONS, verify=True)
    assert np.array_equal(arrays["a"], A)
    assert np.array_equal(arrays["b"], B)


def test_no_handle_stays_open(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[str, np.ndarray]]:
        yield "a", A
        raise RuntimeError

    before = open_handles()
    for _ in range(20):
        some = Batch(tmp_path)
        some.write("x", SECTIONS, chunks())
        with pytest.raises(RuntimeError):
            some.write("x", SECTIONS, failing())
        some.discard()
    assert open_handles() <= before


def test_no_handle_of_a_sync_that_never_began_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_SYNCS_AT_ONCE", 1)
    monkeypatch.setattr(os, "fsync", lambda handle: time.sleep(0.05))
    before = open_handles()
    some = Batch(tmp_path)
    for _ in range(5):
        some.write("x", SECTIONS, chunks())
    assert open_handles() > before
    some.discard()
    assert open_handles() <= before


def test_space_is_taken_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def never() -> Iterator[tuple[str, np.ndarray]]:
        raise AssertionError
        yield "b", B

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="No space left"):
        write_blocks(tmp_path, "x", [Section("b", U8, (2 << 20,))], never())


def test_a_file_system_that_cannot_allocate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(handle: int, start: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuses)
    big = np.zeros(2 << 20, np.uint8)
    entry: FileEntry = write_blocks(tmp_path, "x", [Section("b", U8, big.shape)], [("b", big)])
    assert entry.bytes == 2 << 20
