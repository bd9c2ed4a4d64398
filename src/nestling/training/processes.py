"""The processes of a run: one, or those that torchrun started, each with a whole model or a share of one."""

from __future__ import annotations

import atexit
import copy
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from accelerate import Accelerator, PartialState
from torch import Tensor, nn

from nestling.errors import InputError, ProcessLostError
from nestling.training.config import TrainConfig
from nestling.training.objective import Objective

_LAST_FREED = 0.1  # seconds
_WAIT = timedelta(hours=6)  # for a process that makes what all need; one that ends is noticed at once


def this_process() -> PartialState:
    """This process among those that torchrun started, before anything is trained."""
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=_WAIT)


def _leave() -> None:
    """Before the interpreter ends, which must not meet a thread of the group that wants the interpreter's lock.

    DistributedDataParallel never gives its group back, so gloo's threads live on when the group is destroyed. One that
    still frees the tensors of the last exchange waits for the lock; Python ends such a thread, and C++ aborts the
    process, whose work is done. While this one sleeps the lock is free.
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
        time.sleep(_LAST_FREED)


def shareable(size: int) -> int:
    """The largest batch of at most this size that the processes share evenly; a sample for each at least."""
    count = this_process().num_processes
    return max(count, size - size % count)


class Processes:
    """This process among the others of a run.

    Args:
        config: says whether every process holds the model or a share of it.

    Raises:
        InputError: shares were asked of a single process, or of an optimizer that cannot have them.
    """

    def __init__(self, config: TrainConfig) -> None:
        # Without cpu=True, accelerate on a machine without a GPU takes N processes of torchrun for N runs.
        # Its own mixed precision is a setting of the whole process; ours is one of the run.
        this_process()
        self._accelerator = Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision="no")
        atexit.register(_leave)
        self.rank, self.count = self._accelerator.process_index, self._accelerator.num_processes
        self.main, self.device = self._accelerator.is_main_process, self._accelerator.device
        self.sharded = config.fsdp
        if self.sharded and self.count == 1:
            raise InputError.of("fsdp", "off for a single process", "on", "Start several with torchrun.")
        if self.sharded and config.optimizer == "adafactor":
            raise InputError.of("optimizer", "adamw or sgd with fsdp", "'adafactor'")

    def placed(self, objective: Objective) -> Objective:
        """What is trained: the objective itself on this process's device, or a copy of which it holds a share."""
        if not self.sharded:
            return objective.to(self.device)
        # Not moved as a whole: what is shared out may be larger than a device, which gets it layer by layer.
        return _shared(copy.deepcopy(objective), self.device.type, self.count)

    def wrapped(self, placed: Objective) -> nn.Module:
        """A module whose backward pass averages gradients over the processes."""
        return placed if self.sharded else self._accelerator.prepare(placed)

    def averaging(self, model: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Gradients meet in the last of a step's backward passes only."""
        if self.count == 1:
            return nullcontext()
        if self.sharded:
            cast(Any, model).set_requires_gradient_sync(last)
            return nullcontext()
        return nullcontext() if last else cast(Any, model).no_sync()

    def mean(self, values: Tensor) -> list[float]:
        """Of each value over the processes: all of them see a NaN, and all of them stop."""
        found = torch.as_tensor(self._accelerator.reduce(values, reduction="mean"))
        return found.tolist()

    def gathered(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        """Texts of all processes, each once, in the order of the ranks."""
        if self.count == 1:
            return texts
        found = cast(list[tuple[str, ...]], [()] * self.count)
        dist.all_gather_object(cast(Any, found), texts)
        return tuple(dict.fromkeys(text for each in found for text in each))

    def told(self, text: str) -> str:
        """What the main process says, to be called by all."""
        if self.count == 1:
            return text
        found = [text]
        dist.broadcast_object_list(found, src=0)
        return found[0]

    def wait(self) -> None:
        """Until all processes are here."""
        self._accelerator.wait_for_everyone()

    @contextmanager
    def losing_none(self) -> Iterator[None]:
        """Raise `ProcessLostError` when another process ends: the connection breaks, or torchrun stops this one."""
        if self.count == 1:
            yield
            return
        with _told_of_the_end():
            try:
                yield
            except (dist.DistError, dist.DistNetworkError, ConnectionError) as error:
                raise ProcessLostError(_LOST) from error
            except RuntimeError as error:
                if not any(word in str(error).lower() for word in _BROKEN):
                    raise
                raise ProcessLostError(_LOST) from error


_LOST = "Another process of this run has ended, or the run was told to stop. Start the same command with --resume."
_LONG = 3  # a list of more modules is one of layers
_BROKEN = ("connection", "gloo", "nccl", "peer", "socket", "broken pipe", "timed out")


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which every process has a share; to be called by all of them."""
    return cast(Any, tensor).full_tensor() if _is_share(tensor) else tensor


def shared_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's share of a whole tensor, where `like` is a share."""
    if not _is_share(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    share: Any = like
    return distribute_tensor(tensor.to(like.device), share.device_mesh, share.placements)


def _is_share(tensor: Tensor) -> bool:
    # Not isinstance: torch's module of shares takes a second to import, which most runs need not spend.
    return hasattr(tensor, "full_tensor")


def _shared(objective: Objective, kind: str, count: int) -> Objective:
    """The objective with this process's share of each tensor (FSDP2)."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(kind, (count,))
    for block in _blocks(objective):
        fully_shard(block, mesh=mesh)
    # The rest stays whole between forward and backward: losses read weights outside of any module's forward.
    fully_shard(objective, mesh=mesh, reshard_after_forward=False)
    return objective


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The layers of a deep network: what its long lists hold."""
    lists = [list(each.children()) for each in module.modules() if isinstance(each, nn.ModuleList)]
    return [block for each in lists if len(each) > _LONG for block in each]


@contextmanager
def _told_of_the_end() -> Iterator[None]:
    """torchrun ends the rest of a run by SIGTERM when one process is gone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise ProcessLostError(_LOST)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
