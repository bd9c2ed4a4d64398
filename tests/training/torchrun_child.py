"""Run by torchrun: trains some kinds of objectives, and lets each process write what it saw.

Arguments: the kinds with commas between, the folder (RANK in it is the process's number), and, to be killed, the rank
and the step.
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
from nestling.training import Feed, fit
from nestling.training.batches import Batches
from nestling.training.feed import Share
from tests.training import small


class DyingFeed(Feed):
    """Kills its process before a step."""

    def __init__(self, feed: Feed, dies_at: int | None) -> None:
        self.feed, self.dies_at = feed, dies_at

    def __len__(self) -> int:
        return len(self.feed)

    def fingerprint(self) -> dict[str, int]:
        return self.feed.fingerprint()

    def faults(self) -> tuple[str, ...]:
        return self.feed.faults()

    def shares(self, batches: Batches, start: int) -> Generator[Share]:
        for step, share in enumerate(self.feed.shares(batches, start), start):
            if step == self.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield share


def train(kind: str, folder: Path, *death: str) -> None:
    rank = int(os.environ["RANK"])
    objective, feed, changes = small.KINDS[kind](folder.parent)
    feed = DyingFeed(feed, int(death[1]) if death and rank == int(death[0]) else None)
    try:
        result = fit(objective, feed, small.config(**changes), folder=folder / kind, resume=True)
    except NestlingError as error:
        sys.stderr.write(f"rank {rank}: {error}\n")
        raise SystemExit(2) from None
    weights = [p.detach().sum().item() for p in objective.parameters()]
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    (folder / f"{kind}-{rank}.json").write_text(
        json.dumps({"world": world, "weights": weights, "faults": result.faults})
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in sys.argv[1].split(","):
        train(each, Path(sys.argv[2].replace("RANK", os.environ["RANK"])), *sys.argv[3:])
