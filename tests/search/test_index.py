"""An index against a plain dict, and its sentences."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nestling.errors import DataError, IndexLockedError, InputError, ShapeError
from nestling.nesting import Nesting
from nestling.search.index import Index
from nestling.search.storage import drafts, lock, transaction
from nestling.search.storage.manifest import PARTS
from tests.search.storage.toy import NESTING, contents, vectors


def created(path: Path, **named: Any) -> Index:
    return Index.create(path, NESTING, **{"metric": "ip", "dtype": "float32", **named})


def versions(index: Index) -> dict[int | str, int]:
    """Id → version in the order of insertion, every number checked."""
    found = contents(index._snapshot)
    assert index.ids().tolist() == list(found)
    assert len(index) == len(found)
    return found


# --- a plain dict is the oracle ----------------------------------------------------------------------------


class Model(RuleBasedStateMachine):
    """Whatever is done to an index, a dict of id → version, in the order of insertion, says what is in it."""

    @initialize(texts=st.booleans(), fan=st.integers(1, 4))
    def start(self, texts: bool, fan: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.texts, self.version = texts, 0
        self.kept = (drafts.FAN, drafts.TIERS)
        drafts.FAN, drafts.TIERS = fan, (4, 20)
        self.index = created(self.folder / "index", ids="string" if texts else "int64")
        self.reader = Index.open(self.folder / "index")
        self.model: dict[int | str, int] = {}
        self.gone: set[int] = set()
        self.largest = -1

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.index.verify()
            drafts.FAN, drafts.TIERS = self.kept
            shutil.rmtree(self.folder)

    def ids(self, numbers: list[int]) -> list[Any]:
        return [str(i) for i in numbers] if self.texts else numbers

    def put(self, numbers: list[int], write: Callable[..., None]) -> None:
        self.version += 1
        write(vectors(numbers, self.version), self.ids(numbers))
        for name in self.ids(numbers):
            self.model.pop(name, None)
            self.model[name] = self.version
        self.largest = max([self.largest, *numbers])
        self.gone -= set(numbers)

    @rule(numbers=st.lists(st.integers(0, 20), max_size=8, unique=True))
    def add(self, numbers: list[int]) -> None:
        there = [i for i in self.ids(numbers) if i in self.model]
        if there:
            with pytest.raises(InputError, match="new to the index"):
                self.index.add(vectors(numbers, 1), self.ids(numbers))
        self.put([i for i, name in zip(numbers, self.ids(numbers), strict=True) if name not in there], self.index.add)

    @rule(count=st.integers(0, 12))
    def number_on(self, count: int) -> None:
        if self.texts:
            with pytest.raises(InputError, match="are texts"):
                self.index.add(vectors([0], 1))
        else:
            numbers = range(self.largest + 1, self.largest + 1 + count)
            self.put(list(numbers), lambda x, _: self.index.add(x))

    @rule(numbers=st.lists(st.integers(0, 30), max_size=8, unique=True))
    def upsert(self, numbers: list[int]) -> None:
        self.put(numbers, self.index.upsert)

    @rule(places=st.lists(st.integers(0, 99), max_size=6), strange=st.lists(st.integers(1000, 1010), max_size=2))
    def delete(self, places: list[int], strange: list[int]) -> None:
        there = [list(self.model)[place % len(self.model)] for place in places if self.model]
        assert self.index.delete(there + self.ids(strange)) == len(set(there))
        for name in set(there):
            del self.model[name]
            self.gone.add(int(name))

    @rule(count=st.integers(1, 4))
    def bring_back(self, count: int) -> None:
        self.put(sorted(self.gone)[:count], self.index.add)

    @rule(what=st.sampled_from(["compact", "reopen", "follow", "change_as_another_process_would"]))
    def keep_house(self, what: str) -> None:
        getattr(self, what)()

    def compact(self) -> None:
        self.index.compact()
        assert len(self.index._snapshot.segments) == bool(self.model)
        assert self.index.info()["deleted"] == 0

    def reopen(self) -> None:
        self.index.close()
        self.index = Index.open(self.folder / "index", verify=True)

    def change_as_another_process_would(self) -> None:
        self.index, self.reader = self.reader, self.index
        self.put([61], self.index.upsert)
        self.follow()

    def follow(self) -> None:
        before, now = self.reader.info()["generation"], self.index.info()["generation"]
        assert self.reader.refresh() == (before < now)
        assert not self.reader.refresh()
        assert versions(self.reader) == self.model

    @invariant()
    def the_dict_says_what_is_in_the_index(self) -> None:
        if hasattr(self, "model"):
            assert list(versions(self.index).items()) == list(self.model.items())
            named = {entry.file for entry in self.index._snapshot.manifest.files}
            assert {path.name for path in (self.folder / "index" / PARTS).iterdir()} == named


TestModel = Model.TestCase
# Every step waits for the disk: to shrink a failure, add Phase.shrink for as long as it takes.
TestModel.settings = settings(max_examples=25, stateful_step_count=20, phases=(Phase.explicit, Phase.generate))


# --- the sentences -----------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path) -> Index:
    index = created(tmp_path / "index")
    index.add(vectors([0, 1, 2], 1))
    return index


X = vectors([7, 8], 2)


@pytest.mark.parametrize(
    ("vectors", "ids", "error", "words"),
    [
        (X * np.nan, None, InputError, "vectors must be finite; got NaN or infinity in row 0"),
        (X[:, :15], None, ShapeError, "vectors must be 16 wide"),
        (X[0], None, ShapeError, "one vector per row"),
        (X, [5, 5], InputError, "ids must be without repetition; got 5 twice"),
        (X, [5, 2], InputError, "ids must be new to the index; got 2, which it holds. Use upsert"),
        (X, [5], ShapeError, "ids must be one for each of 2 vectors; got 1"),
        (X, ["a", "b"], InputError, "ids must be whole numbers, as those of the index; got texts"),
        (X, [-1, 5], InputError, "not negative; got -1"),
        (X, [5, 6.5], InputError, "whole numbers that int64 can hold, or texts"),
    ],
)
def test_bad_input_changes_nothing(index: Index, vectors: Any, ids: Any, error: type[Exception], words: str) -> None:
    before = versions(index)
    files = sorted((index.path / PARTS).iterdir())
    for write in (index.add, index.upsert):
        if write == index.upsert and (ids is None or "upsert" in words):
            continue
        with pytest.raises(error, match=words):
            write(vectors, ids)
    assert versions(index) == before
    assert not index.refresh()
    assert sorted((index.path / PARTS).iterdir()) == files


def test_ids_are_never_given_out_twice(index: Index) -> None:
    index.delete([2])
    index.compact()
    index = Index.open(index.path)
    index.add(vectors([3], 1))
    index.add(vectors([100], 1), [100])
    index.delete([100])
    index.add(vectors([101], 1))
    assert index.ids().tolist() == [0, 1, 3, 101]
    index.add(vectors([5], 1) * 0, [2**63 - 1])
    with pytest.raises(InputError, match="numbers after the largest are used up"):
        index.add(vectors([6], 1))


def test_the_first_add_decides_the_kind_of_ids(tmp_path: Path) -> None:
    index, other = created(tmp_path / "index"), Index.open(tmp_path / "index")
    assert index.add(vectors([], 1)) is None
    assert Index.open(index.path).info()["ids"] is None
    index.add(vectors([5], 1), ["5"])
    with pytest.raises(InputError, match="must be texts"):
        other.add(vectors([6], 1), [6])
    assert versions(index) == {"5": 1}
    with pytest.raises(InputError, match="must be texts"):
        created(tmp_path / "texts", ids="string").add(vectors([6], 1), [6])


def test_upsert_needs_ids(index: Index) -> None:
    with pytest.raises(InputError, match="ids must be given"):
        index.upsert(X, None)


def test_nothing_to_do_writes_nothing(index: Index) -> None:
    generation = index.info()["generation"]
    index.add(vectors([], 1))
    index.upsert(vectors([], 1), [])
    assert index.delete([55]) == 0
    assert index.delete([]) == 0
    index.compact()
    assert index.info()["generation"] == generation
    assert not index.refresh()


def test_create_refuses_what_is_there(index: Index, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"index is an index already\. Open it, or choose another folder"):
        created(index.path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(DataError, match="full is not empty"):
        created(tmp_path / "full")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".git").touch()
    with pytest.raises(DataError, match="hidden is not empty"):
        created(tmp_path / "hidden")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        created(tmp_path / "file")
    for half in ("empty", "deep/er/still"):
        (tmp_path / half).mkdir(parents=True)
        assert len(created(tmp_path / half)) == 0


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(("param", "value"), [("metric", "l1"), ("dtype", "int8"), ("ids", "uuid")])
def test_create_refuses_what_it_does_not_know(tmp_path: Path, param: str, value: str) -> None:
    with pytest.raises(InputError, match=f"{param} must be one of"):
        created(tmp_path / "never", **{param: value})
    assert not (tmp_path / "never").exists()


def test_what_a_killed_create_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "index" / PARTS).mkdir(parents=True)
    (tmp_path / "index" / "lock").touch()
    (tmp_path / "index" / ".manifest.json.0123456789ab.unfinished").touch()
    assert len(created(tmp_path / "index")) == 0


def test_an_empty_index_copied_without_its_empty_folder(tmp_path: Path) -> None:
    index = created(tmp_path / "index")
    (index.path / PARTS).rmdir()
    index = Index.open(index.path, verify=True)
    index.add(X, [7, 8])
    assert versions(index) == {7: 2, 8: 2}


def test_open_says_what_is_no_index(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="is not an index: it has no manifest"):
            Index.open(folder)


def test_a_closed_index_says_so(index: Index) -> None:
    with index:
        assert len(index) == 3
    for use in (lambda: len(index), index.ids, index.refresh, lambda: index.add(X), index.info):
        with pytest.raises(InputError, match="the index must be open"):
            use()


def test_another_writer_is_named(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    writing = transaction.writing
    monkeypatch.setattr(transaction, "writing", lambda folder: writing(folder, 0))
    with lock.writing(index.path), pytest.raises(IndexLockedError, match="is being written by process"):
        index.add(X)
    index.add(X, [7, 8])


def test_a_second_copy_takes_the_place_of_the_first_and_has_the_dims_of_both(index: Index) -> None:
    index.add(X)
    index.derive("copy-8", "sketch-8@8")
    index.derive("copy-4,16")
    assert set(index.info()["derived"]) == {"sketch-8@8", "copy-4,8,16"}
    for plan in ("8@8:5,8@8:4,16:3", "8@8:5,16@8:4,16:3"):
        assert index.search(X, plan=plan).ids[:, 0].tolist() == [3, 4]
    index.derive("copy-8")
    assert set(index.info()["derived"]) == {"sketch-8@8", "copy-4,8,16"}


def test_progress_of_a_partition_counts_comparisons(index: Index) -> None:
    index.add(X)
    calls: list[Any] = []
    index.partition(3, progress=lambda *told: calls.append(told))
    *fitting, last = calls
    assert [done for done, _, _ in fitting] == [rounds * fitting[1][0] for rounds in range(9)]
    end = fitting[-1][0] + len(index)
    assert {total for _, total, _ in calls} == {end}
    assert fitting[-1][2] == f"{len(index):,} vectors into cells"
    assert last == (end, end, "done")


def test_progress_counts_bytes_to_the_end(index: Index) -> None:
    index.derive("sketch-8@8")
    calls: list[tuple[int, int, str]] = []
    index.add(vectors(list(range(1000, 2000)), 1), range(1000, 2000), progress=lambda *told: calls.append(told))
    done, totals, words = zip(*calls, strict=True)
    assert list(done) == sorted(done)
    assert len(set(totals)) == 1
    assert 0.5 < done[-1] / totals[-1] <= 1  # the rest is between the sections
    assert words[-1].endswith("MB/s")


def test_a_disk_that_is_too_small_is_told_before_the_work(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 100))
    with pytest.raises(DataError, match=r"needs 0\.0 GB more and its disk has 0\.0 GB left"):
        index.add(X)
    assert len(index) == 3


def test_what_a_killed_writer_left_goes_before_new_files_come(index: Index) -> None:
    """It may be what fills the disk."""
    left = [index.path / PARTS / "0123456789abcdef.rows", index.path / ".manifest.json.0123456789ab.unfinished"]
    foreign = index.path / PARTS / "notes.txt"
    for path in (*left, foreign):
        path.touch()
    seen: list[bool] = []
    index.add(X, [7, 8], progress=lambda *told: seen.append(any(path.exists() for path in left)))
    assert seen
    assert not any(seen)
    assert foreign.exists()


def test_threads_add_at_the_same_time(index: Index) -> None:
    def work(first: int) -> None:
        for i in range(first, first + 10):
            index.add(vectors([i], 1), [i])
            assert index._snapshot.locate([i])[0][0] >= 0  # what I added I see

    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(versions(index)) == 43
    assert index.info()["generation"] == 41


def test_a_thread_that_comes_late_does_not_turn_the_clock_back(index: Index) -> None:
    before = index._snapshot
    index.add(X, [7, 8])
    assert not index._move(before)
    assert len(index) == 5


def test_small_adds_leave_few_segments(tmp_path: Path) -> None:
    index = created(tmp_path / "index")
    for i in range(40):
        index.add(vectors([i], 1))
        assert len(index._snapshot.segments) <= drafts.FAN
    assert list(versions(index)) == list(range(40))


def test_a_large_add_makes_several_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nestling.search.storage import writer

    monkeypatch.setattr(writer, "SEGMENT_ROWS", 100)
    index = created(tmp_path / "index")
    index.derive("sketch-8@8")
    index.add(vectors(list(range(250)), 1))
    assert [segment.rows for segment in index._snapshot.segments] == [100, 100, 50]
    index.delete(range(0, 250, 2))
    index.add(vectors(list(range(250, 260)), 1), range(250, 260))
    index.compact()
    assert [segment.rows for segment in index._snapshot.segments] == [100, 35]
    bad = vectors(list(range(300, 600)), 1)
    bad[222, 3] = np.inf
    with pytest.raises(InputError, match="in row 222"):
        index.add(bad)
    assert list(versions(Index.open(index.path, verify=True))) == [*range(1, 250, 2), *range(250, 260)]


def test_nan_deep_in_a_mapped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nestling.search.storage import rows

    monkeypatch.setattr(rows, "_CHUNK", 1 << 10)
    x = vectors(list(range(1000)), 1)
    x[900, 4] = np.nan
    np.save(tmp_path / "x.npy", x)
    index = created(tmp_path / "index")
    with pytest.raises(InputError, match="NaN or infinity in row 900"):
        index.add(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert list((index.path / PARTS).iterdir()) == []
    assert len(index) == 0
    np.save(tmp_path / "y.npy", vectors(list(range(1000)), 1))
    index.add(np.load(tmp_path / "y.npy", mmap_mode="r"))
    assert len(versions(index)) == 1000


def test_the_stored_numbers_are_those_given(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, 32))
    for dtype in ("float16", "float32"):
        index = Index.create(tmp_path / dtype, Nesting((5, 32)), dtype=dtype)
        index.add(x)
        (segment,) = index._snapshot.segments
        assert np.array_equal(segment.values(slice(None)), x.astype(np.float32).astype(dtype).astype(np.float32))
        assert np.array_equal(segment.values(slice(3, 9), 5), segment.values(slice(None))[3:9, :5])
    with pytest.raises(InputError, match=r"small enough for float16; got 7e\+04 in row 0"):
        Index.open(tmp_path / "float16").add(x[:1] * 0 + 7e4)
