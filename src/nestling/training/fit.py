"""The one training loop: one process or many, CPU or GPU; killed, it goes on to the same weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nestling.errors import InputError
from nestling.training.batch_norm import check_norms, shared_norms
from nestling.training.batches import Batches
from nestling.training.checkpoint import copy_state
from nestling.training.config import TrainConfig
from nestling.training.feed import Feed, Share
from nestling.training.log import LogRow
from nestling.training.objective import Objective
from nestling.training.optimizer import build_optimizer
from nestling.training.processes import Processes
from nestling.training.run_folder import RunFolder
from nestling.training.schedule import learning_rate

# Called after every step, in the main process only:
# (step, total_steps, loss, images_per_s, lr, seconds_left)
Progress = Callable[[int, int, float, float, float, float], object]
# Called with the steps done after each; true ends the run. Every process must answer the same.
Stop = Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished run.

    Attributes:
        step: steps done.
        history: the lines of the log, also those of the sessions before a resume.
        checkpoint: the last one, None without a folder.
        warnings: what went wrong without stopping the run.
        faults: samples that could not be read, with reasons; others stood in.
    """

    step: int
    history: tuple[LogRow, ...]
    checkpoint: Path | None = None
    warnings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def fit(
    objective: Objective,
    feed: Feed,
    config: TrainConfig,
    *,
    folder: Path | str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> TrainResult:
    """Train in place, and leave the objective in evaluation mode.

    A batch, its augmentation, its learning rate and its dropout are functions of (seed, step), so the state
    of a run is its weights, its optimizer and its step. Under ``torchrun`` each process takes its share of
    every batch; batch norms see all of it, and dropout alone depends on the number of processes.

    Args:
        objective: what is minimised; its parameters are trained.
        feed: the samples and their targets, such as an `ArrayFeed`.
        config: how to train.
        folder: where log and checkpoints go; nothing is written without one.
        resume: go on from the folder's newest good checkpoint, from the start where there is none.
        progress: called after every step.
        stop: called with the steps done after every step; true ends the run early, as held-out data may ask.

    Raises:
        InputError: the folder holds a run and `resume` is false, or the settings do not fit the data.
        CheckpointError: the folder's run is of other settings, data or model, or has no good checkpoint.
        TrainingDivergedError: the loss or the gradient became NaN or infinite.
        RunLockedError: another process is training in the folder.
        ProcessLostError: another process of this run has ended.
    """
    processes = Processes(config)
    batches = Batches(len(feed), config, processes.rank, processes.count)
    objective.label_smoothing = config.smoothing(objective.nesting)
    trained = processes.placed(objective)
    optimizer = build_optimizer(trained, config)
    at = None if folder is None else Path(folder)
    run = RunFolder(trained, optimizer, config, feed.fingerprint(), at, processes)
    with processes.losing_none(), closing(run):
        learner = _Learner(trained, optimizer, config, batches, processes)
        start = run.begin(resume)
        done, ended = start, False
        clock, shares = _Clock(start, config.batch_size), feed.shares(batches, start)
        trained.train()
        with closing(run.open_log(start)) as log, closing(shares), shared_norms(trained, processes.count):
            for step, share in enumerate(shares, start):
                total, parts = learner.gradients(share, step)
                run.check_loss(step + 1, total, parts)
                lr = learner.update(step)
                done = step + 1
                ended = done == batches.total or (stop is not None and stop(done))
                if done % config.log_every == 0 or ended:
                    per_dim = dict(zip(objective.nesting, parts, strict=True))
                    log.append(LogRow(done, done / batches.per_epoch, lr, total, per_dim, clock.lap(done)))
                if progress is not None and processes.main:
                    rate = clock.rate(done)
                    left = (batches.total - done) * config.batch_size / rate
                    progress(done, batches.total, total, rate, lr, left)
                if done % config.checkpoint_every == 0 or ended:
                    run.save(done, log)
                if ended:
                    break
        processes.wait()
        faults = processes.gathered(feed.faults())
        if trained is not objective:
            copy_state(trained, objective)
    objective.eval()
    return TrainResult(done, tuple(log.rows), run.last, tuple(run.warnings), faults)


class _Learner:
    """One step after the other: the gradients of a batch, then what they change."""

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        config: TrainConfig,
        batches: Batches,
        processes: Processes,
    ) -> None:
        if config.accumulate > 1 and not objective.divisible:
            raise InputError.of("accumulate", "1 for a loss that compares all rows of a batch", config.accumulate)
        check_norms(objective, config.batch_size // config.accumulate)
        self.objective, self.optimizer, self.config = objective, optimizer, config
        self.batches, self.processes = batches, processes
        self.model = processes.wrapped(objective)
        self.weights = torch.tensor(objective.nesting.weights, device=processes.device)

    def gradients(self, share: Share, step: int) -> tuple[float, list[float]]:
        """Of the whole batch, in as many backward passes as the configuration says; the loss and its parts."""
        count, device = self.config.accumulate, self.processes.device
        weights = self.batches.weights(self.weights, step)
        inputs, targets = (each.to(device).chunk(count) for each in share)
        seen: list[Tensor] = []
        for part, pair in enumerate(zip(inputs, targets, strict=True)):
            with self.processes.averaging(self.model, last=part == count - 1):
                with _seeded(self.batches.model_seed(step, part), device), _precision(self.config, device):
                    loss = self.model(*pair, weights)
                (loss.total / count).backward()
            seen.append(torch.cat([loss.total.detach().float()[None], loss.per_dim.detach().float()]))
        total, *parts = self.processes.mean(torch.stack(seen).mean(dim=0))
        return total, parts

    def update(self, step: int) -> float:
        """Change the weights; the learning rate."""
        config, batches = self.config, self.batches
        lr = learning_rate(step, total_steps=batches.total, steps_per_epoch=batches.per_epoch, config=config)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_factor"]
        if config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.objective.parameters(), config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            for parameter, least in self.objective.bounds():
                parameter.clamp_(min=least)
        return lr


class _Clock:
    """Images a second, since the start of this session and since the last line of the log."""

    def __init__(self, step: int, batch_size: int) -> None:
        self._start = self._lap = (step, time.perf_counter())
        self._size = batch_size

    def rate(self, step: int, since: tuple[int, float] | None = None) -> float:
        before, then = since or self._start
        return (step - before) * self._size / max(time.perf_counter() - then, 1e-9)

    def lap(self, step: int) -> float:
        rate, self._lap = self.rate(step, self._lap), (step, time.perf_counter())
        return rate


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generator: lend it a seed for one forward, then give it back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _precision(config: TrainConfig, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16")
