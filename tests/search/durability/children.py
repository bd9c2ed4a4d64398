"""What runs in processes that are killed, limited or watched. Light to import: a fork server loads it once."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from nestling.search.index import Index
from tests.search.storage.toy import NESTING, contents, vectors

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([__name__])
PARTS = ("sketch-8@8", "sketch-8@4", "sketch-16@1", "copy-8,16")
CALLS = ("open", "pwrite", "fsync", "ftruncate", "posix_fallocate", "replace", "unlink", "mkdir", "chmod")

Versions = dict[int, int]


def start(target: Callable[..., None], *args: Any) -> BaseProcess:
    """A child that runs a function of this module."""
    process = SERVER.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def created(folder: Path) -> Index:
    return Index.create(folder, NESTING, metric="l2", dtype="float32", ids="int64")


def versions(index: Index) -> Versions:
    """Id → version in the order of insertion, every number of every vector checked."""
    return {int(name): version for name, version in contents(index._snapshot).items()}


# --- changes, as data --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """What is to be done, and what will be different then."""

    what: str
    ids: list[int]
    version: int = 0
    words: tuple[Any, ...] = ()

    def to_json(self) -> str:
        return json.dumps([self.what, self.ids, self.version, list(self.words)]) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Change:
        what, ids, version, words = json.loads(text)
        return cls(what, ids, version, tuple(words))

    def do(self, index: Index) -> None:
        if self.what == "add":
            index.add(vectors(self.ids, self.version))
        elif self.what == "upsert":
            index.upsert(vectors(self.ids, self.version), self.ids)
        elif self.what == "delete":
            index.delete(self.ids)
        else:
            getattr(index, self.what)(*self.words)

    def is_done(self, index: Index) -> bool:
        """Whether it cannot be done once more."""
        if self.what == "add":
            return index._snapshot.manifest.next_id != self.ids[0]
        return self.what == "drop" and self.words[0] not in index.info()["derived"]

    def after(self, before: Versions) -> Versions:
        """What is in the index when this is done."""
        there = {name: version for name, version in before.items() if name not in set(self.ids)}
        return there if self.what == "delete" else there | dict.fromkeys(self.ids, self.version)


def drawn(draw: random.Random, index: Index, there: Versions) -> Change:
    """Some change that can be done."""
    version = max(there.values(), default=0) + 1
    first = index._snapshot.manifest.next_id
    names, derived = list(there), index.info()["derived"]
    some = draw.sample(names, draw.randint(0, min(len(names), 300)))
    if len(names) > 8000:
        return Change("delete", draw.sample(names, 6000))
    possible = [
        Change("add", list(range(first, first + draw.choice((1, 3, 100, 1500)))), version),
        Change("add", list(range(first, first + draw.choice((1, 3, 100, 1500)))), version),
        Change("upsert", [*some, *range(first, first + draw.randint(0, 5))], version),
        Change("delete", some),
        Change("compact", []),
        Change("derive", [], words=(draw.choice(PARTS),)),
    ]
    if len(names) > 100:
        possible.append(Change("partition", [], words=(draw.randint(2, 6), 8)))
    if derived and derived != ["cells"]:
        possible.append(Change("drop", [], words=(draw.choice([name for name in derived if name != "cells"]),)))
    return draw.choice(possible)


def work(folder: str, log: str, seed: int) -> None:
    """Change an index for ever; write down each change before it begins, and that it is done when it says so."""
    draw = random.Random(seed)
    index = Index.open(folder)
    there = versions(index)
    with Path(log).open("ab", buffering=0) as notes:
        while True:
            change = drawn(draw, index, there)
            notes.write(change.to_json().encode())
            change.do(index)
            notes.write(b"done\n")
            there = change.after(there)


def expected(log: Path, before: Versions) -> list[Versions]:
    """What may be in the index after the changes of a log: the last may be done without having said so."""
    states = [before]
    for line in log.read_text().splitlines():
        if line == "done":
            states = states[1:]
        else:
            states = [states[0], Change.from_json(line).after(states[0])]
    return states


# --- calls of the system that fail or are the last ----------------------------------------------------------


@contextmanager
def at_call(number: int, action: Callable[[str], None]) -> Iterator[list[str]]:
    """Do something instead of the number-th call that changes the disk; gives the names of the calls so far."""
    made: list[str] = []
    lock, kept = threading.Lock(), {name: getattr(os, name) for name in CALLS}

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return kept[name](*args, **named)
            with lock:
                made.append(name)
                due = len(made) == number
            if due:
                action(name)
            return kept[name](*args, **named)

        return call

    for name in CALLS:
        setattr(os, name, wrapped(name))
    try:
        yield made
    finally:
        for name, function in kept.items():
            setattr(os, name, function)


def die(name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # in a thread the others would go on for a moment


def cut_short(folder: str, change: str, number: int) -> None:
    """Do one change and die at its number-th call."""
    index = Index.open(folder)
    with at_call(number, die):
        Change.from_json(change).do(index)


def make(folder: str, number: int) -> None:
    """Make an index and die at the number-th call."""
    with at_call(number, die):
        created(Path(folder))


# --- readers -----------------------------------------------------------------------------------------------


def read(folder: str, count: int, stop: str, report: str) -> None:
    """Open and follow an index that is being written: every state must be one that a writer made whole.

    All vectors of a state have one version, and there are `count` of them or none.
    """
    seen, last, draw = 0, 0, random.Random(os.getpid())
    index = Index.open(folder)
    old = (index._snapshot, contents(index._snapshot))
    while not Path(stop).exists():
        if draw.random() < 0.3:
            index = Index.open(folder, verify=draw.random() < 0.3)
        else:
            index.refresh()
        found = contents(index._snapshot)
        assert len(found) in (0, count)
        assert len(set(found.values())) == (1 if found else 0)
        assert max(found.values(), default=last) >= last
        last = max(found.values(), default=last)
        assert contents(old[0]) == old[1]  # a state stays as it is, although its files are gone by now
        if draw.random() < 0.1:
            old = (index._snapshot, found)
        if found and "sketch-8@8" in index.info()["derived"]:
            wanted = draw.sample(sorted(found), 3)
            hits = index.search(vectors(wanted, last), plan="8@8:100000,16:1")
            assert hits.ids[:, 0].tolist() == wanted
        seen += 1
    Path(report).write_text(f"{seen} {last}")
