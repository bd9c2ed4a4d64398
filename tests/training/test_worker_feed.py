from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nestling.data.picture_files import PictureFiles, picture_files
from nestling.data.shards import open_shards
from nestling.errors import DataError
from nestling.training import WorkerFeed, fit
from nestling.training.batches import Batches
from tests.data.pictures import tree
from tests.training import small


@pytest.fixture
def files(tmp_path: Path) -> PictureFiles:
    return pictures(tmp_path / "tree")


def pictures(folder: Path) -> PictureFiles:
    """64 of four classes."""
    return picture_files(tree(folder, classes=4, each=16), small.VIEW, val_fraction=0).train


def _shares(feed: WorkerFeed, batches: Batches, start: int = 0) -> list[tuple[Tensor, Tensor]]:
    return list(feed.shares(batches, start))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_what_a_batch_holds_does_not_depend_on_the_readers(files: PictureFiles, workers: int) -> None:
    config = small.config(epochs=2)
    batches, feed = Batches(64, config), WorkerFeed(files, workers=workers)
    found = _shares(feed, batches, 3)
    assert len(found) == 5
    for step, (inputs, targets) in enumerate(found, 3):
        rows = files.order(config.seed, step // 4, 16)[step % 4 * 16 : step % 4 * 16 + 16]
        wanted = files.read(rows, seed=config.seed, epoch=step // 4)
        assert np.array_equal(inputs.numpy(), wanted.inputs)
        assert np.array_equal(targets.numpy(), wanted.targets)


def test_processes_share_a_batch(files: PictureFiles) -> None:
    whole = _shares(WorkerFeed(files, workers=0), Batches(64, small.config(epochs=2)))
    parts = [_shares(WorkerFeed(files, workers=0), Batches(64, small.config(epochs=2), rank, 2)) for rank in (0, 1)]
    for step, (inputs, targets) in enumerate(whole):
        assert torch.equal(torch.cat([part[step][0] for part in parts]), inputs)
        assert torch.equal(torch.cat([part[step][1] for part in parts]), targets)


def test_without_augmentation_pictures_are_seen_as_they_are(files: PictureFiles) -> None:
    config = small.config(augment=False, epochs=2)
    inputs, _ = _shares(WorkerFeed(files, workers=0), Batches(64, config))[0]
    assert np.array_equal(inputs.numpy(), files.read(files.order(config.seed, 0, 16)[0:16]).inputs)


def test_a_run_over_shards_counts_what_was_broken_and_resumes(tmp_path: Path) -> None:
    objective, feed, _ = small.KINDS["shards"](tmp_path)
    result = fit(objective, feed, small.config(), folder=tmp_path / "whole")
    assert result.faults
    assert all("000003.tar" in fault for fault in result.faults)
    assert result.history[-1].total < result.history[0].total
    again, feed, _ = small.KINDS["shards"](tmp_path)

    def stop(done: int, *_: object) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(again, feed, small.config(), folder=tmp_path / "cut", progress=stop)
    again, feed, _ = small.KINDS["shards"](tmp_path)
    fit(again, feed, small.config(), folder=tmp_path / "cut", resume=True)
    for one, two in zip(objective.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)


def test_strict_stops_at_the_first_fault(tmp_path: Path) -> None:
    objective, _, _ = small.KINDS["shards"](tmp_path)
    shards = open_shards(str(tmp_path / "shards"), small.VIEW, strict=True)
    with pytest.raises(DataError, match=r"000003\.tar cannot be read: unexpected end of data"):
        fit(objective, WorkerFeed(shards, workers=2), small.config())


def test_readers_end_with_a_killed_training(tmp_path: Path) -> None:
    """They hold its standard output: it would not end before they do."""
    text = """
import os, signal, sys
from pathlib import Path
from nestling.training import WorkerFeed
from nestling.training.batches import Batches
from tests.training import small
from tests.training.test_worker_feed import pictures

if __name__ == "__main__":
    feed = WorkerFeed(pictures(Path(sys.argv[1])), workers=2)
    for share in feed.shares(Batches(64, small.config(epochs=9)), 0):
        os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "dying.py").write_text(text)
    command = [sys.executable, str(tmp_path / "dying.py"), str(tmp_path / "tree")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
