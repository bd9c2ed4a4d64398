"""SIGKILL at any moment, then resume: the final weights are those of the undisturbed run, bit for bit."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from nestling.training import Checkpoint
from nestling.training.checkpoint import saved
from tests.training import small

PER_EPOCH = 4
# A server that imports torch once and forks: a child costs milliseconds, and is as real to kill.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.training.small"])


def _child(folder: Path, changes: dict[str, int]) -> BaseProcess:
    process = _SERVER.Process(target=small.train, args=(str(folder), True), kwargs=changes, daemon=True)
    process.start()
    return process


def _killed_at(folder: Path, step: int, delay: float, changes: dict[str, int]) -> int:
    """Start or resume the run, kill it `delay` seconds after a checkpoint of `step` steps; where that was."""
    process = _child(folder, changes)
    while process.is_alive() and _newest(folder) < step:
        time.sleep(0.0005)
    time.sleep(delay)
    process.kill()
    process.join()
    assert process.exitcode == -9, "the run was over before it could be killed"
    return _newest(folder)


def _newest(folder: Path) -> int:
    return max((int(path.stem.partition("-")[2]) for path in saved(folder)), default=0)


def assert_kills_change_nothing(tmp_path: Path, *, kills: int, epochs: int, seed: int) -> None:
    draw, steps = random.Random(seed), epochs * PER_EPOCH
    changes = {"epochs": epochs, "checkpoint_every": draw.choice((1, 2, 3))}
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    # Ascending, so that each kill hits a run at work; the last fifth of the steps leaves time to be hit.
    targets = sorted(draw.randrange(steps * 4 // 5) for _ in range(kills))
    hit = [_killed_at(disturbed, target, draw.random() * 0.02, changes) for target in targets]
    assert len(set(hit)) > kills // 2
    for folder in (disturbed, undisturbed):
        process = _child(folder, changes)
        process.join(120)
        assert process.exitcode == 0
    one, two = (Checkpoint.read(saved(folder)[-1]) for folder in (disturbed, undisturbed))
    assert one.step == two.step == steps
    assert one.tensors.keys() == two.tensors.keys()
    assert any(name.endswith("/exp_avg_sq") for name in one.tensors)
    assert [name for name in one.tensors if not torch.equal(one.tensors[name], two.tensors[name])] == []
    logged = [json.loads(line)["step"] for line in (disturbed / "log.jsonl").read_text().splitlines()]
    assert logged == list(range(1, steps + 1))
    assert len(saved(disturbed)) == 2
    assert not list(disturbed.glob(".*"))


def test_three_kills_and_a_resume_give_the_same_weights(tmp_path: Path) -> None:
    assert_kills_change_nothing(tmp_path, kills=3, epochs=30, seed=11)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_thirty_kills_give_the_same_weights(tmp_path: Path, seed: int) -> None:
    assert_kills_change_nothing(tmp_path, kills=30, epochs=120, seed=seed)
