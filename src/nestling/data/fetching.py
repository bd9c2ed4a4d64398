"""Getting published files: over HTTP with a limit, or by a program of the system with a time limit."""

from __future__ import annotations

import logging
import os
import subprocess
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

from nestling.errors import DataError, InputError

SOCKET_SECONDS = 15
_PROGRAM_SECONDS = 600

Say = Callable[[str], object]
log: Say = logging.getLogger("nestling").info  # silent unless the program listens


def check_address(address: str) -> None:
    """Raise `InputError` unless an address is one of http or https."""
    if not address.startswith(("http://", "https://")):
        raise InputError.of("address", "an http or https address", repr(address))


def by_http(url: str, limit: int, what: str, say: Say) -> bytes:
    """The bytes at an address.

    Args:
        limit: bytes that it may have at most.
        what: its name in messages.

    Raises:
        DataError: it could not be fetched, or is longer.
    """
    say(f"Fetching {url}")
    try:
        with urllib.request.urlopen(url, timeout=SOCKET_SECONDS) as response:  # noqa: S310 (http or https)
            data: bytes = response.read(limit + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise DataError(f"{url} could not be fetched: {error}.") from error
    if len(data) > limit:
        raise DataError(f"{url} is longer than {what} can be.")
    return data


def by_program(command: Sequence[str], folder: Path) -> None:
    """Run a program in a folder, without input, its messages in English.

    Raises:
        DataError: it is missing, fails, or takes longer than ten minutes; the sentence holds its last error.
    """
    try:
        subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROGRAM_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{command[0]} did not finish in {_PROGRAM_SECONDS} seconds.") from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in str(error.stderr).splitlines() if line.startswith(("E:", "npm error", "npm ERR!"))]
        raise DataError(f"{command[0]} failed: {lines[-1] if lines else error.returncode}.") from error
    except OSError as error:
        raise DataError(f"{command[0]} could not be started: {error}.") from error
