"""Two processes (gloo) give the loss and the gradients of one process with all rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nestling.losses import contrastive
from nestling.nesting import Nesting

CHILD = """
import json, sys, torch, torch.distributed as dist
from datetime import timedelta
from nestling.errors import ShapeError
from nestling.losses import contrastive
from nestling.nesting import Nesting
rank, folder, tau, uneven = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4] == "uneven"
meet = f"file://{folder}/meet"
dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=2, timeout=timedelta(seconds=60))
images, texts = torch.load(f"{folder}/data.pt")
rows = slice(0, 5) if rank == 0 else slice(5, 9 if uneven else 10)
torch.manual_seed(0)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(8, 8, dtype=torch.float64))
t = torch.tensor(tau, dtype=torch.float64, requires_grad=True)
try:
    groups = (torch.arange(10) % 4)[rows] if sys.argv[4] == "groups" else None
    how = {}
    if sys.argv[4] == "negatives":
        own = slice(0, 2) if rank == 0 else slice(2, 4)
        how = {"negatives": model(texts.flip(1)[own]), "symmetric": False}
    loss = contrastive(model(images[rows]), texts[rows], Nesting((2, 4, 8)), t, groups=groups, **how)
except ShapeError as error:
    print(json.dumps(str(error)), flush=True)
    dist.barrier()
    dist.destroy_process_group()
    sys.exit()
loss.total.backward()
dist.all_reduce(t.grad)  # the mean over processes, as DistributedDataParallel takes it of parameters
grad = model.module.weight.grad
print(json.dumps([loss.total.item(), loss.per_dim.tolist(), grad.tolist(), t.grad.item() / 2]))
dist.destroy_process_group()
"""


def _run_both(folder: Path, tau: float, mode: str) -> list[object]:
    command = [sys.executable, "-c", CHILD]
    children = [
        subprocess.Popen([*command, str(rank), str(folder), str(tau), mode], stdout=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    answers = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    return [json.loads(answer.strip().splitlines()[-1]) for answer in answers]


def _data(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    images, texts = torch.randn(2, 10, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.save((images, texts), folder / "data.pt")
    return images, texts


@pytest.mark.parametrize("mode", ["even", "groups", "negatives"])
@pytest.mark.parametrize("tau", [0.1, 0.01])
def test_two_processes_equal_one(tmp_path: Path, tau: float, mode: str) -> None:
    images, texts = _data(tmp_path)
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 8, dtype=torch.float64)
    t = torch.tensor(tau, dtype=torch.float64, requires_grad=True)
    groups = torch.arange(10) % 4 if mode == "groups" else None
    more = {"negatives": model(texts.flip(1)[:4]), "symmetric": False} if mode == "negatives" else {}
    alone = contrastive(model(images), texts, Nesting((2, 4, 8)), t, groups=groups, **more)
    alone.total.backward()
    assert model.weight.grad is not None
    assert t.grad is not None
    for total, per_dim, grad, to_tau in _run_both(tmp_path, tau, mode):
        torch.testing.assert_close(torch.tensor(total, dtype=torch.float64), alone.total.detach())
        torch.testing.assert_close(torch.tensor(per_dim, dtype=torch.float64), alone.per_dim)
        torch.testing.assert_close(torch.tensor(grad, dtype=torch.float64), model.weight.grad)
        torch.testing.assert_close(torch.tensor(to_tau, dtype=torch.float64), t.grad)


def test_batches_of_unequal_size_are_an_error_on_both(tmp_path: Path) -> None:
    _data(tmp_path)
    for message in _run_both(tmp_path, 0.1, "uneven"):
        assert message == "the batch must be equally large on every process; got [5, 4]. Drop the last, smaller batch."
