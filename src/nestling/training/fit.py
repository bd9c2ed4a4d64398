"""The one training loop: one process or many, CPU or GPU; killed, it goes on to the same weights."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from nestling.errors import CheckpointError, InputError, TrainingDivergedError
from nestling.files import sweep, write_file
from nestling.training.batches import Batches
from nestling.training.checkpoint import Checkpoint, newest_good, restore, saved, state_of
from nestling.training.config import TrainConfig
from nestling.training.feed import Feed
from nestling.training.log import Log, LogRow
from nestling.training.objective import Objective
from nestling.training.schedule import learning_rate

_RUN, _LOG = "run.json", "log.jsonl"


# Called after every step, in the main process only:
# (step, total_steps, loss, images_per_s, lr, seconds_left)
Progress = Callable[[int, int, float, float, float, float], object]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished run.

    Attributes:
        step: steps done.
        history: the lines of the log, also those of the sessions before a resume.
        checkpoint: the last one, None without a folder.
        warnings: what went wrong without stopping the run.
    """

    step: int
    history: tuple[LogRow, ...]
    checkpoint: Path | None = None
    warnings: tuple[str, ...] = ()


def fit(
    objective: Objective,
    feed: Feed,
    config: TrainConfig,
    *,
    folder: Path | str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> TrainResult:
    """Train in place, and leave the objective in evaluation mode.

    A batch, its augmentation, its learning rate and its dropout are functions of (seed, step), so the state
    of a run is its weights, its optimizer and its step. Under ``torchrun`` each process takes its share of
    every batch.

    Args:
        objective: what is minimised; its parameters are trained.
        feed: the samples and their targets, such as an `ArrayFeed`.
        config: how to train.
        folder: where log and checkpoints go; nothing is written without one.
        resume: go on from the folder's newest good checkpoint, from the start where there is none.
        progress: called after every step.

    Raises:
        InputError: the folder holds a run and `resume` is false, or the settings do not fit the data.
        CheckpointError: the folder's run is of other settings, data or model, or has no good checkpoint.
        TrainingDivergedError: the loss or the gradient became NaN or infinite.
    """
    accelerator = _accelerator()
    batches = Batches(len(feed), config, accelerator.process_index, accelerator.num_processes)
    objective.label_smoothing = config.smoothing(objective.nesting)
    model = accelerator.prepare(objective)
    optimizer = _optimizer(objective, config)
    stepper = accelerator.prepare(optimizer)
    run = _Run(objective, optimizer, config, feed.fingerprint(), None if folder is None else Path(folder))
    start = run.begin(resume, accelerator)
    weights = torch.tensor(objective.nesting.weights, device=accelerator.device)
    clock, shares = _Clock(start, config.batch_size), feed.shares(batches, start)
    model.train()
    with closing(run.open_log(start, main=accelerator.is_main_process)) as log, closing(shares):
        for step, share in enumerate(shares, start):
            lr = learning_rate(step, total_steps=batches.total, steps_per_epoch=batches.per_epoch, config=config)
            for group in optimizer.param_groups:
                group["lr"] = lr * group["lr_factor"]
            inputs, targets = (each.to(accelerator.device) for each in share)
            with _seeded(batches.model_seed(step), accelerator.device), _precision(config, accelerator.device):
                loss = model(inputs, targets, batches.weights(weights, step))
            total, parts = _reduced(accelerator, loss.total, loss.per_dim)
            run.check_loss(step + 1, total, parts)
            accelerator.backward(loss.total)
            if config.clip_norm is not None:
                accelerator.clip_grad_norm_(objective.parameters(), config.clip_norm)
            stepper.step()
            stepper.zero_grad()
            done = step + 1
            if done % config.log_every == 0 or done == batches.total:
                per_dim = dict(zip(objective.nesting, parts, strict=True))
                log.append(LogRow(done, done / batches.per_epoch, lr, total, per_dim, clock.lap(done)))
            if progress is not None and accelerator.is_main_process:
                rate = clock.rate(done)
                left = (batches.total - done) * config.batch_size / rate
                progress(done, batches.total, total, rate, lr, left)
            if done % config.checkpoint_every == 0 or done == batches.total:
                run.save(done, log, main=accelerator.is_main_process)
    accelerator.wait_for_everyone()
    objective.eval()
    return TrainResult(batches.total, tuple(log.rows), run.last, tuple(run.warnings))


class _Run:
    """The folder of a run, and what must be true of it."""

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        config: TrainConfig,
        data: dict[str, int],
        folder: Path | None,
    ) -> None:
        self.objective, self.optimizer, self.folder = objective, optimizer, folder
        self.blank = Checkpoint(0, config, str(objective.nesting), data, {})
        self.last: Path | None = None
        self.warnings: list[str] = []

    def begin(self, resume: bool, accelerator: Accelerator) -> int:
        """Make or check the folder, restore the newest good checkpoint; how many steps are done."""
        if self.folder is None:
            return 0
        used = (self.folder / _RUN).exists() or (self.folder / _LOG).exists() or bool(saved(self.folder))
        if used and not resume:
            raise InputError.of("folder", "new", f"{self.folder}, which holds a run", "Resume it or name another.")
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError.of("folder", "a folder", f"the file {self.folder}")
        found, path, bad = newest_good(self.folder)
        if found is not None and path is not None:
            found.check(self.blank, path)
            restore(found, path, self.objective, self.optimizer)
            self.last = path
        elif used:
            self._check_description()
        accelerator.wait_for_everyone()  # every process has read the folder before one changes it
        if accelerator.is_main_process:
            self._prepare_folder(bad, path)
        return 0 if found is None else found.step

    def open_log(self, step: int, *, main: bool) -> Log:
        """The log, cut back to `step`, with the warnings of the start."""
        log = Log(None if self.folder is None else self.folder / _LOG, step, write=main)
        for text in self.warnings:
            log.warn(step, text)
        return log

    def check_loss(self, step: int, total: float, parts: list[float]) -> None:
        """Raise `TrainingDivergedError` when a number is NaN or infinite: before it can reach the weights."""
        bad = [m for m, part in zip(self.objective.nesting, parts, strict=True) if not math.isfinite(part)]
        if not bad and math.isfinite(total):
            return
        where = f"prefix {bad[0]} first" if bad else "the weighted sum"
        value = parts[list(self.objective.nesting).index(bad[0])] if bad else total
        raise TrainingDivergedError(f"The loss became {value} at step {step} ({where}). {self._advice()}")

    def save(self, step: int, log: Log, *, main: bool) -> None:
        """Write a checkpoint, after the lines of the log that belong to it."""
        if self.folder is None:
            return
        tensors = state_of(self.objective, self.optimizer)
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise TrainingDivergedError(f"{name} became NaN or infinite by step {step}. {self._advice()}")
        log.sync()
        checkpoint = replace(self.blank, step=step, tensors=tensors)
        self.last = checkpoint.write(self.folder) if main else checkpoint.path(self.folder)

    def _advice(self) -> str:
        good = "No checkpoint was saved before." if self.last is None else f"The last good checkpoint is {self.last}."
        return f"{good} Lower lr, or lengthen warmup_epochs."

    def _check_description(self) -> None:
        assert self.folder is not None
        path = self.folder / _RUN
        try:
            about = json.loads(path.read_text())
            there = Checkpoint(
                0, TrainConfig.from_json(json.dumps(about["config"])), about["nesting"], about["data"], {}
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}). Start again in a new folder.") from error
        there.check(self.blank, path)

    def _prepare_folder(self, bad: list[tuple[Path, str]], used: Path | None) -> None:
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        for path, reason in bad:  # aside, so that the two that are kept are two good ones
            path.rename(path.with_suffix(".damaged"))
            self.warnings.append(f"{reason} Going on from {used.name if used else 'the start'}.")
            warnings.warn(self.warnings[-1], RuntimeWarning, stacklevel=4)
        blank = self.blank
        about = {"format": 1, "config": json.loads(blank.config.to_json()), "nesting": blank.nesting}
        text = json.dumps({**about, "data": dict(blank.data)}, indent=1)
        write_file(self.folder / _RUN, text + "\n")


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


def _accelerator() -> Accelerator:
    # Without cpu=True, accelerate on a machine without a GPU takes N processes of torchrun for N runs.
    # Its own mixed precision is a setting of the whole process; ours (`_precision`) is one of the run.
    return Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision="no")


def _optimizer(objective: Objective, config: TrainConfig) -> torch.optim.Optimizer:
    head = set(objective.head_parameters())
    trained = [p for p in objective.parameters() if p.requires_grad]
    decay = config.weight_decay if config.head_weight_decay is None else config.head_weight_decay
    groups = [
        {"params": [p for p in trained if (p in head) == of_head and (p.ndim > 1) == matrices]}
        | {"lr_factor": factor, "weight_decay": weight_decay if matrices else 0.0}  # no decay of norms and biases
        for of_head, factor, weight_decay in ((False, 1.0, config.weight_decay), (True, config.head_lr, decay))
        for matrices in (True, False)
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise InputError.of("objective", "a module with parameters to train", "none")
    if config.optimizer == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=True)
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.98), fused=True)


def _reduced(
    accelerator: Accelerator, total: Float[Tensor, ""], parts: Float[Tensor, " k"]
) -> tuple[float, list[float]]:
    """Loss and parts, averaged over the processes: all of them see a NaN, and all of them stop."""
    both = torch.cat([total.detach().float()[None], parts.detach().float()])
    values: list[float] = torch.as_tensor(accelerator.reduce(both, reduction="mean")).tolist()
    return values[0], values[1:]


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generator: lend it a seed for one forward, then give it back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _precision(config: TrainConfig, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16")
