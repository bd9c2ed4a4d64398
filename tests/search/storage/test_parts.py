"""Derived parts, the partition and the plan: every segment has what the manifest names, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nestling.errors import CorruptIndexError, InputError
from nestling.search.storage import drafts, parts, writer
from nestling.search.storage.blocks import FileEntry
from nestling.search.storage.manifest import load, save
from nestling.search.storage.snapshot import Snapshot
from tests.search.storage.toy import TOYS, borders, contents, created, leftovers, opened, vectors


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """Three segments of 30, 50 and 20 rows."""
    monkeypatch.setattr(drafts, "FAN", 100)
    snapshot = created(tmp_path / "index")
    for start, stop in ((0, 30), (30, 80), (80, 100)):
        snapshot = writer.add(snapshot, TOYS, vectors(list(range(start, stop)), 1), None)
    return snapshot


def means(snapshot: Snapshot, name: str) -> list[np.ndarray]:
    return [segment.parts[name]["mean"] for segment in snapshot.segments]


def files(snapshot: Snapshot, name: str) -> list[FileEntry]:
    return [segment.entry.derived[name] for segment in snapshot.segments]


def test_a_part_is_fitted_on_the_largest_segment(index: Snapshot) -> None:
    index = parts.add_derived(index, TOYS, ["toy-8", "toy-4"])
    assert list(index.derived) == ["toy-8", "toy-4"]
    fitted = vectors(list(range(30, 80)), 1)[:, :8].mean(axis=0)
    assert all(np.allclose(mean, fitted) for mean in means(index, "toy-8"))
    assert len(contents(index)) == 100
    assert len(contents(opened(index.folder, verify=True))) == 100
    assert leftovers(index.folder) == set()


def test_later_rows_take_the_parameters_over(index: Snapshot) -> None:
    index = parts.add_derived(index, TOYS, ["toy-8"])
    index = writer.add(index, TOYS, vectors(list(range(100, 300)), 1), None)
    one, *others = means(index, "toy-8")
    assert all(np.array_equal(one, other) for other in others)
    assert len(contents(index)) == 300


def test_many_more_rows_fit_their_own(index: Snapshot) -> None:
    index = parts.add_derived(index, TOYS, ["toy-8"])
    index = writer.add(index, TOYS, vectors(list(range(100, 301)), 1), None)
    assert np.allclose(means(index, "toy-8")[-1], vectors(list(range(100, 301)), 1)[:, :8].mean(axis=0))
    index = writer.add(index, TOYS, vectors([301], 1), None)
    assert np.array_equal(*means(index, "toy-8")[-2:])


def test_parts_that_are_there_stay(index: Snapshot) -> None:
    index = parts.add_derived(index, TOYS, ["toy-8"])
    before = files(index, "toy-8")
    index = parts.add_derived(index, TOYS, ["toy-4", "toy-8", "toy-4"])
    assert index.manifest.derived == ("toy-8", "toy-4")
    assert files(index, "toy-8") == before
    same = parts.add_derived(index, TOYS, ["toy-8"])
    assert same is index  # nothing changed, not even the generation


def test_dropped_parts_are_gone_from_the_disk(index: Snapshot) -> None:
    index = parts.add_derived(index, TOYS, ["toy-8", "toy-4"])
    index = parts.drop_derived(index, TOYS, ["toy-8"])
    assert list(index.segments[0].parts) == ["toy-4"]
    assert leftovers(index.folder) == set()
    assert len(contents(index)) == 100
    with pytest.raises(InputError, match="names must be among toy-4; got toy-16"):
        parts.drop_derived(index, TOYS, ["toy-16"])
    index = parts.drop_derived(index, TOYS, ["toy-4"])
    with pytest.raises(InputError, match="among none"):
        parts.drop_derived(index, TOYS, ["toy-4"])


def test_an_unknown_part_changes_nothing(index: Snapshot) -> None:
    with pytest.raises(InputError, match="a toy"):
        parts.add_derived(index, TOYS, ["toy-8", "sketch-16@8"])
    with pytest.raises(InputError, match="a toy"):
        parts.add_derived(index, TOYS, ["cells"])  # without a partition
    assert opened(index.folder).manifest == index.manifest
    assert leftovers(index.folder) == set()


def test_a_partition_makes_what_depends_on_it_anew(index: Snapshot) -> None:
    index = parts.add_derived(index, TOYS, ["toy-8"])
    toys = files(index, "toy-8")
    index = parts.set_partition(index, TOYS, borders(10, 50), ["cells", "toy-8"])
    assert index.partition is not None
    assert (index.partition.cells, index.partition.dims) == (3, 4)
    assert len(contents(index)) == 100
    assert files(index, "toy-8") == toys
    cells = files(index, "cells")
    index = parts.set_partition(index, TOYS, borders(5, 20, 30))
    assert len(contents(opened(index.folder, verify=True))) == 100
    assert files(index, "toy-8") == toys
    assert not {entry.file for entry in cells} & {entry.file for entry in files(index, "cells")}
    assert leftovers(index.folder) == set()
    index = writer.add(index, TOYS, vectors([100, 101], 1), None)
    assert len(contents(index)) == 102
    with pytest.raises(InputError, match="a toy"):
        parts.set_partition(index, TOYS, None)  # cells without one
    index = parts.set_partition(index, TOYS, None, ["toy-8"])
    assert index.partition is None
    assert list(index.segments[0].parts) == ["toy-8"]
    assert leftovers(index.folder) == set()


def test_a_partition_of_an_empty_index(tmp_path: Path) -> None:
    index = parts.set_partition(created(tmp_path / "index"), TOYS, borders(10, 50), ["cells", "toy-8"])
    index = writer.add(index, TOYS, vectors([3, 30], 1), [3, 30])
    assert contents(index) == {3: 1, 30: 1}
    assert index.segments[0].parts["cells"]["cell"].tolist() == [0, 1]


def test_deleted_rows_merges_and_derived_parts(index: Snapshot) -> None:
    index = parts.set_partition(index, TOYS, borders(10, 50), ["cells", "toy-8"])
    index, count = writer.delete(index, TOYS, np.arange(0, 100, 3))
    assert count == 34
    index = writer.compact(index, TOYS)
    assert len(index.segments) == 1
    assert contents(opened(index.folder, verify=True)) == {i: 1 for i in range(100) if i % 3}


def test_the_plan_is_kept(index: Snapshot) -> None:
    index = parts.set_plan(index, TOYS, "16:10", {"recall": 0.99})
    assert opened(index.folder).manifest.plan == "16:10"
    assert opened(index.folder).manifest.tuned == {"recall": 0.99}
    index = parts.set_plan(index, TOYS, None, None)
    assert opened(index.folder).manifest.plan is None


def test_names_that_this_version_does_not_know(index: Snapshot) -> None:
    index = parts.set_partition(index, TOYS, borders(10, 50), ["cells"])
    path = index.folder
    manifest, _ = load(path)
    assert manifest.partition is not None
    save(path, replace(manifest, partition=replace(manifest.partition, kind="other")))
    with pytest.raises(CorruptIndexError, match="its partition other is not known here"):
        opened(path)
    segments = tuple(replace(s, derived={"new-1": s.derived["cells"]}) for s in manifest.segments)
    save(path, replace(manifest, derived=("new-1",), segments=segments))
    with pytest.raises(CorruptIndexError, match="its derived part new-1 is not known here"):
        opened(path)


def test_a_part_may_use_those_before_it(index: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    class Second:
        name, resident, partitioned = "second", False, False

        def sections(self, rows):
            return TOYS.parse("toy-4", nesting=index.nesting, metric="ip", partition=None).sections(rows)

        def chunks(self, segment, like):
            seen.append(list(segment.parts))
            return TOYS.parse("toy-4", nesting=index.nesting, metric="ip", partition=None).chunks(segment, like)

    class Both:
        partition_sections = staticmethod(TOYS.partition_sections)

        @staticmethod
        def parse(name, **named):
            return Second() if name == "second" else TOYS.parse(name, **named)

    parts.add_derived(index, Both(), ["toy-8", "second"])
    assert seen == [["toy-8"]] * 3
