"""Run the command line as a person does, in a process of its own; or in this one, where many are refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from nestling.cli import main


def nestling(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """``nestling ARGUMENTS``, finished."""
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


def here(*arguments: object, columns: int = 140) -> subprocess.CompletedProcess[str]:
    """``nestling ARGUMENTS``, finished, in this process, which has torch loaded already: seconds less for each."""
    out, error, status = io.StringIO(), io.StringIO(), 0
    words = ["nestling", *map(str, arguments)]
    wide = patch.dict(os.environ, COLUMNS=str(columns))
    with wide, patch.object(sys, "argv", words), redirect_stdout(out), redirect_stderr(error):
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    return subprocess.CompletedProcess(words, status, out.getvalue(), error.getvalue())


def torchrun(*arguments: object) -> str:
    """The program by two processes of torchrun; what they said."""
    # By number, on the loopback: looking up the host's name can take minutes where there is no network.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    place = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            *place,
            "--nproc-per-node",
            "2",
            "-m",
            "nestling",
            *map(str, arguments),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
