"""An opened index: cheap to open, cheap to follow, the same whatever writers do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nestling.errors import CorruptIndexError, InputError
from nestling.search.storage import manifest, parts, snapshot, writer
from nestling.search.storage.snapshot import Snapshot, open_snapshot
from nestling.search.storage.transaction import newest
from tests.search.storage.toy import TOYS, contents, created, opened, vectors


@pytest.fixture
def index(tmp_path: Path) -> Snapshot:
    """Two segments, of 1,500 and 10 rows, some deleted."""
    start = created(tmp_path / "index")
    start = parts.add_derived(start, TOYS, ["toy-8"])
    start = writer.add(start, TOYS, vectors(list(range(1500)), 1), None)
    start = writer.add(start, TOYS, vectors(list(range(1500, 1510)), 2), None)
    return writer.delete(start, TOYS, [3, 1000, 1505])[0]


def test_ids_in_the_order_of_insertion(index: Snapshot) -> None:
    assert len(index) == 1507
    assert index.ids().tolist() == [i for i in range(1510) if i not in (3, 1000, 1505)]
    assert index.starts.tolist() == [0, 1498, 1507]


def test_a_new_state_takes_over_what_is_mapped(index: Snapshot) -> None:
    after = writer.add(index, TOYS, vectors([1510], 3), None)
    assert [a is b for a, b in zip(index.segments, after.segments, strict=False)] == [True, True]
    after.segments[0].cache["engine"] = 1
    buried, _ = writer.delete(after, TOYS, [7])
    assert buried.segments[0] is not after.segments[0]
    assert buried.segments[0].cache == {}
    assert buried.segments[1] is after.segments[1]
    assert np.shares_memory(buried.segments[0].rings[0], index.segments[0].rings[0])
    assert newest(buried, TOYS) is buried


def test_an_old_state_stays_as_it_was(index: Snapshot) -> None:
    before = contents(index)
    writer.compact(writer.delete(index, TOYS, np.arange(1400))[0], TOYS)
    assert contents(index) == before
    assert index.locate([5])[0].tolist() == [0]


def test_rows_of_ids(index: Snapshot) -> None:
    places, rows = index.locate([1501, 3, 0, 1505, 99999, 1001])
    assert places.tolist() == [1, -1, 0, -1, -1, 0]
    assert rows.tolist() == [1, -1, 0, -1, -1, 1001]


def test_which_rows_may_be_found(index: Snapshot) -> None:
    for among in ([1501, 2], np.isin(index.ids(), [2, 1501])):
        masks = index.allowed(among)
        assert [np.flatnonzero(mask).tolist() for mask in masks] == [[2], [1]]
    everything = index.allowed(np.ones(1507, bool))
    assert [int(mask.sum()) for mask in everything] == [1498, 9]
    assert not everything[0][[3, 1000]].any()
    with pytest.raises(InputError, match="among must be ids of the index; got 3"):
        index.allowed([0, 3])
    with pytest.raises(InputError, match="one bool for each of 1507 vectors"):
        index.allowed(np.ones(1510, bool))
    with pytest.raises(InputError, match="texts"):
        index.allowed(["a"])


def test_an_empty_index(tmp_path: Path) -> None:
    index = created(tmp_path / "index")
    assert len(index) == 0
    assert index.ids().dtype == np.int64
    assert index.locate([1])[0].tolist() == [-1]
    assert index.allowed(np.ones(0, bool)) == []
    assert created(tmp_path / "texts", ids="string").ids().dtype == object
    assert len(opened(tmp_path / "index", verify=True)) == 0


def test_opening_takes_no_work_for_rows(index: Snapshot) -> None:
    index = opened(index.folder)
    assert not {"dead", "live_rows"} & set(index.segments[0].__dict__)
    assert len(index) == 1507
    assert not {"dead", "live_rows"} & set(index.segments[0].__dict__)


def test_a_reader_that_loses_a_race_tries_again(index: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between reading the manifest and opening its files, a writer replaces them all."""
    load, races = manifest.load, [2, 1]

    def slow(folder: Path) -> tuple[manifest.Manifest, manifest.Stamp]:
        found = load(folder)
        if races:
            writer.compact(writer.delete(opened_for_writing, TOYS, [races.pop()])[0], TOYS)
        return found

    opened_for_writing = index
    monkeypatch.setattr(snapshot, "load", slow)
    assert len(open_snapshot(index.folder, TOYS)) == 1505


def test_a_lost_file_is_damage(index: Snapshot) -> None:
    entry = index.segments[1].entry.rows_file
    (index.folder / "parts" / entry.file).unlink()
    with pytest.raises(CorruptIndexError, match=f"{entry.file} is damaged: it is missing"):
        opened(index.folder)


def test_files_that_always_vanish(index: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    (index.folder / "parts" / index.segments[1].entry.rows_file.file).unlink()
    monkeypatch.setattr(snapshot, "stamp", lambda folder: None)
    with pytest.raises(CorruptIndexError, match="vanish faster"):
        opened(index.folder)


def test_deleted_rows_that_do_not_count(index: Snapshot) -> None:
    entry = index.segments[0].entry.dead
    assert entry is not None
    path = index.folder / "parts" / entry.file
    path.write_bytes(bytes(entry.bytes))
    damaged = opened(index.folder)
    with pytest.raises(CorruptIndexError, match=f"{entry.file} is damaged: it marks other rows"):
        damaged.ids()
    with pytest.raises(CorruptIndexError, match="checksum of its section dead"):
        opened(index.folder, verify=True)


def test_mapped_files_are_let_go(index: Snapshot) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(index.folder))

    assert mapped() > 0
    before = mapped()
    again = opened(index.folder)
    assert mapped() > before
    del again
    assert mapped() == before
