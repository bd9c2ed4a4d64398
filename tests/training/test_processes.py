from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nestling.training import ArrayFeed, Checkpoint, fit
from tests.training import small

ROOT = Path(__file__).parents[2]


def test_two_processes_give_the_losses_of_one_with_the_double_batch(tmp_path: Path) -> None:
    """batch_size counts all processes: each of the two takes half of the batch that the single one has."""
    # By number, on the loopback: looking up the host's name can take minutes where there is no network.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}
    place = ["--nnodes", "1", "--master-addr", "127.0.0.1", "--master-port", str(_free_port())]
    command = [sys.executable, "-m", "torch.distributed.run", *place, "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.training.torchrun_child", str(tmp_path)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (json.loads((tmp_path / f"rank-{r}.json").read_text()) for r in (0, 1))
    assert one == two
    assert one["world"] == 2  # two runs of one process each would give the same losses too
    images, labels = small.data()
    objective = small.plain_objective()
    alone = fit(objective, ArrayFeed(images, labels), small.config())
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [row.step for row in alone.history]
    for line, row in zip(lines, alone.history, strict=True):
        assert line["total"] == pytest.approx(row.total, rel=1e-4)
        assert list(line["per_dim"].values()) == pytest.approx(list(row.per_dim.values()), rel=1e-4)
    last = Checkpoint.read(tmp_path / "run" / "checkpoint-000000024.safetensors")
    for name, tensor in objective.state_dict().items():
        torch.testing.assert_close(last.tensors[f"model/{name}"], tensor, rtol=1e-3, atol=1e-4)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
