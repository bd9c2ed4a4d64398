"""torchrun with two real processes: the losses and weights of one, a killed process, a run that goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nestling.training import Checkpoint, fit
from nestling.training.checkpoint import saved
from tests.training import small

ROOT = Path(__file__).parents[2]
STEPS = 24


def torchrun(kind: str, folder: Path, *death: int) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    # By number, on the loopback: looking up the host's name can take minutes where there is no network.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
    place = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    command = [sys.executable, "-m", "torch.distributed.run", *place, "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, "-m", "tests.training.torchrun_child", kind, str(folder), *map(str, death)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder beside which every kind's data lie, with what two processes made of them."""
    folder = tmp_path_factory.mktemp("processes")
    for kind in small.KINDS:
        small.KINDS[kind](folder)  # first: it makes what the processes read
    done = torchrun(",".join(small.KINDS), folder / "two")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "two"


@pytest.mark.parametrize("kind", sorted(small.KINDS))
def test_two_processes_give_the_losses_of_one_with_the_double_batch(kind: str, two: Path) -> None:
    """batch_size counts all processes: each of the two takes half of the batch that the single one has."""
    objective, feed, changes = small.KINDS[kind](two.parent)
    one, other = (json.loads((two / f"{kind}-{rank}.json").read_text()) for rank in (0, 1))
    assert one == other
    assert one["world"] == 2  # two runs of one process each would give the same losses too
    alone = fit(objective, feed, small.config(**{**changes, "fsdp": False}))
    lines = [json.loads(line) for line in (two / kind / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [row.step for row in alone.history] == list(range(1, STEPS + 1))
    assert sorted(one["faults"]) == sorted(alone.faults)
    assert bool(alone.faults) == (kind == "shards")
    for line, row in zip(lines, alone.history, strict=True):
        assert line["total"] == pytest.approx(row.total, rel=1e-4)
        assert list(line["per_dim"].values()) == pytest.approx(list(row.per_dim.values()), rel=1e-4)
    last = Checkpoint.read(saved(two / kind)[-1])
    for name, tensor in objective.state_dict().items():
        torch.testing.assert_close(last.tensors[f"model/{name}"], tensor, rtol=1e-3, atol=1e-4)


def assert_a_killed_process_ends_the_run(kind: str, folder: Path, rank: int, step: int) -> None:
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    small.KINDS[kind](folder)
    assert torchrun(kind, undisturbed).returncode == 0
    killed = torchrun(kind, disturbed, rank, step)
    assert killed.returncode != 0
    assert f"rank {1 - rank}: Another process of this run has ended" in killed.stderr, killed.stderr[-3000:]
    assert saved(disturbed / kind)[-1].name == f"checkpoint-{step // 2 * 2:09d}.safetensors"
    again = torchrun(kind, disturbed)
    assert again.returncode == 0, again.stderr[-3000:]
    one, two = (Checkpoint.read(saved(each / kind)[-1]) for each in (disturbed, undisturbed))
    assert one.step == two.step == STEPS
    assert [name for name in one.tensors if not torch.equal(one.tensors[name], two.tensors[name])] == []
    logged = [json.loads(line)["step"] for line in (disturbed / kind / "log.jsonl").read_text().splitlines()]
    assert logged == list(range(1, STEPS + 1))


def test_a_killed_process_ends_the_run_and_it_goes_on_mid_epoch(tmp_path: Path) -> None:
    assert_a_killed_process_ends_the_run("classification", tmp_path, rank=1, step=7)


def test_machines_without_a_common_folder_are_told(two: Path, tmp_path: Path) -> None:
    for rank in (0, 1):
        shutil.copytree(two / "classification", tmp_path / f"{rank}" / "classification")
    saved(tmp_path / "1" / "classification")[-1].unlink()
    done = torchrun("classification", tmp_path / "RANK")
    assert done.returncode != 0
    assert "Not all processes see the same checkpoints" in done.stderr, done.stderr[-3000:]


@pytest.mark.soak
@pytest.mark.parametrize("kind", sorted(small.KINDS))
@pytest.mark.parametrize("rank", [0, 1])
def test_any_process_may_be_killed_at_any_step(kind: str, rank: int, tmp_path: Path) -> None:
    assert_a_killed_process_ends_the_run(kind, tmp_path, rank=rank, step=3 + 5 * rank)
