"""Run by torchrun: trains, and lets each process write what it saw."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from nestling.training import ArrayFeed, fit
from tests.training import small


def main(folder: Path) -> None:
    images, labels = small.data()
    objective = small.plain_objective()
    fit(objective, ArrayFeed(images, labels), small.config(), folder=folder / "run")
    rank = os.environ["RANK"]
    weights = [p.detach().sum().item() for p in objective.parameters()]
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    (folder / f"rank-{rank}.json").write_text(json.dumps({"world": world, "weights": weights}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
