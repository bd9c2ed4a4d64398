"""An index with changed bytes, opened without a check of all of them: wrong neighbours perhaps, never a crash."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search.engine.cases import Case, made

SKETCHES = ("sketch-13@8", "sketch-70@4", "sketch-33@2", "sketch-128@1", "copy-24,128")
CASES = {
    "cells": Case(1, dims=(8, 24, 128), sizes=(150, 90), parts=SKETCHES, deleted=0.2, cells=7),
    "texts": Case(2, metric="l2", dtype="float32", dims=(24, 128), sizes=(200,), parts=SKETCHES, texts=True),
    "inner": Case(
        3, metric="ip", dims=(8, 24, 128), sizes=(60, 60, 60), parts=("sketch-20@8", "copy-128"), texts=True, cells=3
    ),
}
PLANS = {
    "cells": [
        "probe=3;13@8:90,24@8:30,128:5",
        "70@4:50,128@8:20,128:9",
        "33@2:40,128:7",
        "128@1:30,128:300",
        "8:50,24:5",
    ],
    "texts": ["13@8:90,24@8:30,128:5", "70@4:50,128@8:20,128:9", "33@2:9", "128@1:30,128:300", "24:50,128:5"],
    "inner": ["20@8:50,128@8:9,128:5", "probe=2;20@8:7", "8:30,128:4"],
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("count", [40, pytest.param(2_000, marks=pytest.mark.soak)])
def test_changed_bytes_crash_nothing(tmp_path: Path, name: str, count: int) -> None:
    with made(CASES[name]) as index:
        shutil.copytree(index.path, tmp_path / "base" / "x.nest")
    (tmp_path / "base" / "plans").write_text("\n".join(PLANS[name]))
    command = [
        sys.executable,
        "-X",
        "faulthandler",
        "-m",
        "tests.search.engine.damaged",
        str(tmp_path / "base"),
        "5",
        str(count),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120 + count, check=False)
    assert done.returncode == 0, f"try {done.stdout.split()[-1:]} of {name}: {done.stderr[-3000:]}"
    assert len(done.stdout.split()) == count
