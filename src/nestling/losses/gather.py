"""What a loss needs from other processes: their rows, and its share of sums over all rows."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from nestling.errors import ShapeError


def world() -> tuple[int, int]:
    """(rank, processes) of torch.distributed, (0, 1) when it is not up."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gather_rows(x: Tensor) -> Tensor:
    """(world · b, d): the rows of all processes in the order of their ranks; no gradient.

    Raises:
        ShapeError: the processes do not hold equally many rows.
    """
    _, size = world()
    if size == 1:
        return x.detach()
    counts = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(size)]
    dist.all_gather(counts, torch.tensor([len(x)], device=x.device))
    if len({int(n) for n in counts}) > 1:
        raise ShapeError.of(
            "the batch",
            "equally large on every process",
            [int(n) for n in counts],
            "Drop the last, smaller batch.",
        )
    parts = [torch.empty_like(x) for _ in range(size)]
    dist.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


def sum_over_processes(x: Tensor) -> Tensor:
    """`x` summed over all processes, in place."""
    if world()[1] > 1:
        dist.all_reduce(x)
    return x


def max_over_processes(x: Tensor) -> Tensor:
    """The largest of each element of `x` over all processes, in place."""
    if world()[1] > 1:
        dist.all_reduce(x, op=dist.ReduceOp.MAX)
    return x
