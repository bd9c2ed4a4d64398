"""Two processes read while one writes: each sees states that the writer made whole, and none twice backwards."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from nestling.search.index import Index
from tests.search.durability.children import created, read, start
from tests.search.storage.toy import vectors

COUNT = 60


def write(index: Index, changes: int, seed: int) -> int:
    """Change all vectors at once, again and again, in every way there is; the last version."""
    draw, ids, version = random.Random(seed), list(range(COUNT)), 1
    for _ in range(changes):
        version += 1
        what = draw.random()
        if what < 0.6:
            index.upsert(vectors(ids, version), ids)
        elif what < 0.7:
            index.delete(ids)
            index.add(vectors(ids, version), ids)
        elif what < 0.8:
            index.compact()
        elif what < 0.9:
            index.partition(draw.randint(2, 5), 8)
        elif "sketch-8@8" in index.info()["derived"]:
            index.drop("sketch-8@8")
        else:
            index.derive("sketch-8@8")
    version += 1
    index.upsert(vectors(ids, version), ids)
    return version


def assert_readers_see_whole_states(tmp_path: Path, *, changes: int, seed: int) -> None:
    index = created(tmp_path / "index")
    index.add(vectors(list(range(COUNT)), 1))
    index.derive("sketch-8@8")
    stop = tmp_path / "stop"
    reports = [tmp_path / f"report-{i}" for i in range(2)]
    readers = [start(read, str(index.path), COUNT, str(stop), str(report)) for report in reports]
    last = write(index, changes, seed)
    time.sleep(0.3)
    stop.touch()
    for reader, report in zip(readers, reports, strict=True):
        reader.join(120)
        assert reader.exitcode == 0
        seen, newest = map(int, report.read_text().split())
        assert newest == last
        assert seen > changes / 20


def test_two_readers_and_a_writer(tmp_path: Path) -> None:
    assert_readers_see_whole_states(tmp_path, changes=60, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [2, 3])
def test_two_readers_and_a_busy_writer(tmp_path: Path, seed: int) -> None:
    assert_readers_see_whole_states(tmp_path, changes=2000, seed=seed)
