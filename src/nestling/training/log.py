"""The log of a run: one JSON line every so many steps, no step twice, whatever was killed in between."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nestling.files import write_file


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line.

    Attributes:
        step: steps done.
        epoch: epochs done, with a fraction.
        lr: the learning rate of this step.
        total: the loss Σ_m c_m · L_m of this step's batch.
        per_dim: the losses L_m, keyed by dim.
        images_per_s: since the line before, over all processes.
    """

    step: int
    epoch: float
    lr: float
    total: float
    per_dim: Mapping[int, float]
    images_per_s: float

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> LogRow:
        """From the JSON object of a line."""
        return cls(**{**line, "per_dim": {int(m): loss for m, loss in line["per_dim"].items()}})


class Log:
    """The lines of a run, kept in memory and, where a path is given, appended to a file.

    Args:
        path: the file, or None.
        step: where the run goes on: later lines, and what is no line, are cut off the file first.
        write: false in all processes but one.
    """

    def __init__(self, path: Path | None, step: int, *, write: bool = True) -> None:
        kept = _lines_until(path, step) if path is not None and path.exists() else []
        self.rows = [LogRow.of(line) for line in kept if "per_dim" in line]
        self._file = None
        if path is not None and write:
            text = "".join(json.dumps(line) + "\n" for line in kept)
            write_file(path, text)
            self._file = path.open("a")

    def append(self, row: LogRow) -> None:
        """Add one line; it survives the process from here on."""
        self.rows.append(row)
        self._write(asdict(row))

    def warn(self, step: int, text: str) -> None:
        """Add a line that holds a warning instead of losses."""
        self._write({"step": step, "warning": text})

    def sync(self) -> None:
        """Bring the lines to the disk: to be called before the checkpoint that they belong to."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()


def _lines_until(path: Path, step: int) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for text in path.read_text(errors="replace").splitlines():
        try:
            line = json.loads(text)
            good = line["step"] <= step and ("warning" in line or bool(LogRow.of(line).per_dim))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # the half line of a killed process
        if good:
            kept.append(line)
    return kept
