"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def processor() -> str:
    """The processor's name, as the system gives it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine() -> dict[str, str]:
    """Processor, cores, and the versions that decide numbers."""
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        **{name: version(name) for name in ("nestling", "torch", "numpy", "scikit-learn")},
    }


def commit() -> str | None:
    """The commit of the source that runs, with ``-dirty`` if it was changed; None for an installed package."""
    here = Path(__file__)
    try:
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", here.name], cwd=here.parent, capture_output=True, check=False
        )
        if tracked.returncode:  # a package inside somebody else's checkout
            return None
        command = ["git", "describe", "--always", "--dirty"]
        described = subprocess.run(command, cwd=here.parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return described.stdout.strip() or None
