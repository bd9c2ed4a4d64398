"""Run the suite under coverage, subprocesses too, and hold src to its mark: ``python -m tests.run [--soak]``."""

from __future__ import annotations

import os
import subprocess
import sys


def main() -> int:
    """The exit status of the suite, or of the coverage report when the suite is green."""
    python = [sys.executable, "-m"]
    # Tests are many small tensors: threads would only wait for one another. A process per core helps, with whole files
    # to each, since the tests of a file share what they trained.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    subprocess.run([*python, "coverage", "erase"], check=True)
    on_every_core = ["-n", "logical", "--dist", "loadfile"]
    tests = [*python, "coverage", "run", "-m", "pytest", *on_every_core, "--durations=10", *sys.argv[1:]]
    failed = subprocess.run(tests, env=environment, check=False).returncode
    subprocess.run([*python, "coverage", "combine", "--quiet"], check=False)
    report = subprocess.run([*python, "coverage", "report"], check=False).returncode
    return failed or report


if __name__ == "__main__":
    raise SystemExit(main())
