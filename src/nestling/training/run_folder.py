"""The folder of a run: its description, its log and its checkpoints, and what must be true of them."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from nestling.errors import CheckpointError, InputError, TrainingDivergedError
from nestling.files import sweep, write_file
from nestling.training.checkpoint import Checkpoint, newest_good, restore, saved, state_of
from nestling.training.config import TrainConfig
from nestling.training.lock import FolderLock, locked
from nestling.training.log import Log
from nestling.training.objective import Objective
from nestling.training.processes import Processes

_RUN, _LOG = "run.json", "log.jsonl"


class RunFolder:
    """The folder of a run, and what must be true of it.

    Args:
        objective, optimizer: whose state is kept; config, data: what a resumed run must have alike.
        folder: None, and nothing is kept.
        processes: the main one writes.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        config: TrainConfig,
        data: dict[str, int],
        folder: Path | None,
        processes: Processes,
    ) -> None:
        self.objective, self.optimizer, self.folder, self.processes = objective, optimizer, folder, processes
        self.blank = Checkpoint(0, config, str(objective.nesting), data, {})
        self.last: Path | None = None
        self.warnings: list[str] = []
        self._lock: FolderLock | None = None

    def begin(self, resume: bool) -> int:
        """Lock, make or check the folder, restore the newest good checkpoint; how many steps are done.

        Raises:
            RunLockedError: another process is training in it.
            InputError, CheckpointError: as of `fit`.
        """
        if self.folder is None:
            return 0
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError.of("folder", "a folder", f"the file {self.folder}")
        self._take_lock(self.folder)
        used = (self.folder / _RUN).exists() or (self.folder / _LOG).exists() or bool(saved(self.folder))
        if used and not resume:
            raise InputError.of("folder", "new", f"{self.folder}, which holds a run", "Resume it or name another.")
        found, path, bad = newest_good(self.folder)
        if found is not None and path is not None:
            found.check(self.blank, path)
            restore(found, path, self.objective, self.optimizer)
            self.last = path
        elif used:
            self._check_description()
        step = 0 if found is None else found.step
        if (
            len(self.processes.gathered((str(step),))) > 1
        ):  # and every process has read the folder before one changes it
            raise CheckpointError(f"Not all processes see the same checkpoints in {self.folder}. Share one folder.")
        if self.processes.main:
            self._prepare_folder(bad, path)
        return step

    def close(self) -> None:
        """Let others train in the folder."""
        if self._lock is not None:
            self._lock.release()

    def open_log(self, step: int) -> Log:
        """The log, cut back to `step`, with the warnings of the start."""
        log = Log(None if self.folder is None else self.folder / _LOG, step, write=self.processes.main)
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

    def save(self, step: int, log: Log) -> None:
        """Write a checkpoint, after the lines of the log that belong to it."""
        if self.folder is None:
            return
        tensors: dict[str, Tensor] = {}
        for name, tensor in state_of(self.objective, self.optimizer):
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise TrainingDivergedError(f"{name} became NaN or infinite by step {step}. {self._advice()}")
            if self.processes.main:  # of a shared model no device holds more than one tensor whole
                tensors[name] = tensor.cpu() if self.processes.sharded else tensor
        log.sync()
        checkpoint = replace(self.blank, step=step, tensors=tensors)
        self.last = checkpoint.write(self.folder) if self.processes.main else checkpoint.path(self.folder)

    def _take_lock(self, folder: Path) -> None:
        """The main process's, for all of a run: they learn from it who else has the folder, and stop together."""
        holder = ""
        if self.processes.main:
            self._lock = FolderLock(folder, self.warnings.append)
            holder = "" if self._lock.take() else self._lock.holder()
        if holder := self.processes.told(holder):
            self.close()
            raise locked(folder, holder)

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
