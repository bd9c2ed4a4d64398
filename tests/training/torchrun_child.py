"""Run by torchrun: trains one kind of objective, and lets each process write what it saw.

Arguments: the kind, the folder, and, to be killed, the rank and the step.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import torch

from nestling.errors import NestlingError
from nestling.training import ArrayFeed, fit
from nestling.training.batches import Batches
from nestling.training.feed import Share
from tests.training import small


class DyingFeed(ArrayFeed):
    """Kills its process before a step."""

    dies_at: int | None = None

    def shares(self, batches: Batches, start: int) -> Generator[Share]:
        for step, share in enumerate(super().shares(batches, start), start):
            if step == self.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield share


def main(kind: str, folder: Path, *death: str) -> None:
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    objective, arrays, changes = small.KINDS[kind]()
    feed = DyingFeed(*arrays)
    if death and rank == int(death[0]):
        feed.dies_at = int(death[1])
    try:
        fit(objective, feed, small.config(**changes), folder=folder / "run", resume=True)
    except NestlingError as error:
        sys.stderr.write(f"rank {rank}: {error}\n")
        raise SystemExit(2) from None
    weights = [p.detach().sum().item() for p in objective.parameters()]
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    (folder / f"rank-{rank}.json").write_text(json.dumps({"world": world, "weights": weights}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
