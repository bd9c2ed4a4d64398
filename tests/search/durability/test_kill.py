"""SIGKILL at any moment of any change: every acknowledged vector is there, none is half, and nothing is left over."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from nestling.search.index import Index
from nestling.search.storage.lock import writing
from tests.search.durability.children import (
    PARTS,
    Change,
    at_call,
    created,
    cut_short,
    expected,
    make,
    start,
    versions,
    work,
)
from tests.search.storage.toy import vectors


def assert_whole(folder: Path, possible: list[dict[int, int]]) -> dict[int, int]:
    """The index is one of these states, its lock is free, and the next writer sweeps what the killed one left."""
    with writing(folder, 0):
        pass
    index = Index.open(folder, verify=True)
    found = versions(index)
    assert list(found.items()) in [list(state.items()) for state in possible]
    assert list(index._snapshot.segments[0].parts if found else []) == list(
        index._snapshot.manifest.derived if found else []
    )
    some = random.Random(len(found)).sample(sorted(found), min(3, len(found)))
    if some and "sketch-8@8" in index.info()["derived"]:
        hits = index.search(vectors(some, [found[name] for name in some]), plan="8@8:100000,16:1")
        assert hits.ids[:, 0].tolist() == some
    return found


def leftovers(folder: Path) -> int:
    """How many files nobody names; the next change removes them."""

    def strange() -> list[str]:
        index = Index.open(folder)
        named = {entry.file for entry in index._snapshot.manifest.files} | {"manifest.json", "lock", "parts"}
        return [path.name for path in (*folder.iterdir(), *(folder / "parts").iterdir()) if path.name not in named]

    found = len(strange())
    Index.open(folder).delete([])
    assert strange() == []
    return found


def killed(folder: Path, log: Path, draw: random.Random, seed: int) -> None:
    """Let a child change the index; kill it a moment after it began one of its first changes."""
    child = start(work, str(folder), str(log), seed)
    wanted = draw.randint(1, 8)
    while child.is_alive() and (not log.exists() or log.read_bytes().count(b"[") < wanted):
        time.sleep(0.0005)
    time.sleep(draw.random() ** 2 * 0.03)
    child.kill()
    child.join()
    assert child.exitcode == -9, "the child ended by itself"


def assert_kills_lose_nothing(tmp_path: Path, *, kills: int, seed: int) -> Counter[str]:
    draw, folder, log = random.Random(seed), tmp_path / "index", tmp_path / "log"
    created(folder)
    state: dict[int, int] = {}
    outcomes: Counter[str] = Counter()
    for number in range(kills):
        killed(folder, log, draw, seed * 1000 + number)
        possible = expected(log, state)
        state = assert_whole(folder, possible)
        outcomes["during a change"] += len(possible) > 1
        outcomes["done without a word"] += len(possible) > 1 and state == possible[1] != possible[0]
        outcomes["files left over"] += leftovers(folder) > 0
        log.unlink()
    return outcomes


def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    outcomes = assert_kills_lose_nothing(tmp_path, kills=20, seed=1)
    assert outcomes["during a change"] > 10  # else the test hits the pauses
    assert outcomes["files left over"] > 2


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 6))
def test_two_hundred_kills_lose_nothing(tmp_path: Path, seed: int) -> None:
    outcomes = assert_kills_lose_nothing(tmp_path, kills=50, seed=seed)
    assert outcomes["during a change"] > 30


# --- at every single call of the system ----------------------------------------------------------------------

CHANGES = [
    Change("add", list(range(500, 520)), 9),
    Change("upsert", [1, 2, 3, 120, 900], 9),
    Change("delete", [1, 2, 100, 101, 102]),
    Change("compact", []),
    Change("derive", [], words=("sketch-16@1",)),
    Change("drop", [], words=("sketch-8@8",)),
    Change("partition", [], words=(3, 8)),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with two segments, deleted rows, derived parts and cells."""
    folder = tmp_path_factory.mktemp("prepared") / "index"
    index = created(folder)
    index.add(vectors(list(range(100)), 1))
    index.derive(*PARTS[:1], PARTS[3])
    index.partition(4, 8)
    index.add(vectors(list(range(100, 500)), 2))
    index.delete([7, 300])
    return folder


def calls_of(folder: Path, change: Change) -> list[str]:
    with at_call(0, lambda name: None) as made:
        change.do(Index.open(folder))
    return made


def assert_calls_lose_nothing(tmp_path: Path, prepared: Path, change: Change, every: int) -> None:
    shutil.copytree(prepared, tmp_path / "whole")
    before = versions(Index.open(prepared))
    calls = calls_of(tmp_path / "whole", change)
    assert len(calls) > 6
    assert versions(Index.open(tmp_path / "whole")) == change.after(before)
    for number in range(1 + len(calls) % every, len(calls) + 1, every):
        folder = tmp_path / str(number)
        shutil.copytree(prepared, folder)
        child = start(cut_short, str(folder), change.to_json(), number)
        child.join(300)
        assert child.exitcode == -9
        assert_whole(folder, [before, change.after(before)])
        leftovers(folder)
        index = Index.open(folder)
        if not change.is_done(index):
            change.do(index)  # what was cut short can be done again
        assert_whole(folder, [change.after(before)])
        shutil.rmtree(folder)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_a_kill_at_some_calls(tmp_path: Path, prepared: Path, change: Change) -> None:
    assert_calls_lose_nothing(tmp_path, prepared, change, every=10)


@pytest.mark.soak
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_a_kill_at_every_call(tmp_path: Path, prepared: Path, change: Change) -> None:
    assert_calls_lose_nothing(tmp_path, prepared, change, every=1)


def test_a_kill_while_an_index_is_made(tmp_path: Path) -> None:
    for number in range(1, 100):
        folder = tmp_path / str(number)
        child = start(make, str(folder), number)
        child.join(300)
        if child.exitcode == 0:
            break
        assert child.exitcode == -9
        index = Index.open(folder) if (folder / "manifest.json").exists() else created(folder)
        index.add(vectors([1], 1), [1])
        assert versions(Index.open(folder, verify=True)) == {1: 1}
        leftovers(folder)
    assert 5 < number < 30
