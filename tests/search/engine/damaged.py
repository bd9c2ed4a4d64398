"""Searches an index again and again, each time with other bytes of its files changed. A child process of test_damage.

    python -m tests.search.engine.damaged FOLDER SEED COUNT

Prints the number of each try before it begins. An error that says what is wrong is an answer as good as any other.
"""

from __future__ import annotations

import resource
import shutil
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

from nestling.errors import NestlingError
from nestling.search import derived
from nestling.search.index import Index
from nestling.search.storage.snapshot import open_snapshot

MEMORY = 4 << 30


def places(folder: Path) -> list[tuple[Path, int, int]]:
    """File, offset and bytes of every section."""
    found = []
    for file, (_, arrays) in open_snapshot(folder, derived).blocks.items():
        begin = min((a.ctypes.data for a in arrays.values()), default=0)
        found += [(folder / "parts" / file, a.ctypes.data - begin, a.nbytes) for a in arrays.values() if a.nbytes]
    return found


def change(path: Path, offset: int, size: int, rng: np.random.Generator) -> None:
    """Some bytes of a section, a run of them, or all; random ones, or such that are large numbers or NaN."""
    content = bytearray(path.read_bytes())
    kind, run = rng.integers(4), int(rng.integers(1, min(size, 64) + 1))
    at = offset + int(rng.integers(size - run + 1))
    if kind == 0:
        for place in offset + rng.integers(0, size, 8):
            content[place] = rng.integers(256)
    elif kind == 1:
        content[at : at + run] = rng.bytes(run)
    elif kind == 2:
        content[at : at + run] = bytes([int(rng.choice([0, 0x7F, 0x80, 0xFF]))]) * run
    else:
        content[offset : offset + size] = rng.bytes(size)
    path.write_bytes(content)


def search(folder: Path, plans: list[str], rng: np.random.Generator) -> None:
    """Every way to search; what is found must have the right shape and be ids of the right kind."""
    with Index.open(folder) as index:
        queries = rng.standard_normal((3, index.nesting.width)).astype(np.float32)
        for arguments in [{"plan": plan} for plan in plans] + [{"exact": True, "k": 7}]:
            for among in (None, rng.random(len(index)) < 0.5):
                try:
                    hits = index.search(queries, among=among, threads=2, **arguments)
                except NestlingError:
                    continue
                assert hits.ids.shape == hits.scores.shape == (3, hits.k)
                kind = str if hits.ids.dtype == object else int
                assert all(isinstance(name, kind) for name in hits.ids[~hits.missing].tolist())
        for call in (index.ids, index.info, lambda: index.search(queries, among=index.ids()[:5], k=3, exact=True)):
            try:
                call()
            except NestlingError:
                continue


def main(base: Path, seed: int, count: int) -> None:
    """Try after try on a copy."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore", RuntimeWarning)  # NaN
    plans = (base / "plans").read_text().splitlines()
    copy = base.with_name("copy.nest")
    for number in range(count):
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        rng = np.random.default_rng([seed, number])
        shutil.copytree(base / "x.nest", copy)
        sections = places(copy)
        for _ in range(rng.integers(1, 4)):
            change(*sections[rng.integers(len(sections))], rng)
        with suppress(NestlingError):
            search(copy, plans, rng)
        shutil.rmtree(copy)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
