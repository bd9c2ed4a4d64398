"""Run the command line as a person does: a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def nestling(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """``nestling ARGUMENTS``, finished."""
    import os

    return subprocess.run(
        [sys.executable, "-m", "nestling", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "140", **environment},
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a refused command: exit code 2, no traceback, nothing else on standard error."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("nestling: ")
    return lines[0].removeprefix("nestling: ")
