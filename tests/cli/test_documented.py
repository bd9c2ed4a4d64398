"""The commands are the documented ones, and the examples of their help run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from nestling.cli import app
from tests.cli.command import here

ROOT = Path(__file__).parents[2]


def commands() -> dict[str, Any]:
    """``"index create"`` → the command."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {below}": own for below, own in inner.items()} if inner else {name: command}
    return found


def examples(name: str) -> list[str]:
    """The lines of a command's help that begin with its name."""
    return re.findall(rf"`(nestling {name} [^`]*)`", " ".join(commands()[name].help.split()))


def test_the_commands_are_the_documented_ones() -> None:
    text = (ROOT / "docs" / "reference.md").read_text().split("## Commands\n")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^- `nestling ([a-z -]+)`", text, re.MULTILINE)) == sorted(commands())


@pytest.mark.parametrize("name", commands())
def test_help_holds_an_example_and_fits_80_columns(name: str) -> None:
    shown = here(*name.split(), "--help", columns=80)
    assert f"Example: nestling {name} " in " ".join(shown.stdout.split()) + " "
    assert max(map(len, shown.stdout.splitlines())) <= 80


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples of the index's commands speak of."""
    folder = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)
    spread = np.arange(1, 257) ** -0.6
    for name, n in (("train", 1500), ("val", 20), ("queries", 200), ("more", 8)):
        np.save(folder / f"{name}.npy", (rng.normal(size=(n, 256)) * spread).astype(np.float32))
    np.save(folder / "more-ids.npy", np.arange(5000, 5008))
    (folder / "queries.json").write_text(json.dumps(np.load(folder / "queries.npy")[:3].tolist()))
    return folder


LIFE = [f"index {name}" for name in ("create", "add", "delete", "info", "verify", "partition", "compact")]


def test_the_examples_of_an_indexs_commands_run_one_after_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for name in (*LIFE, "tune", "search"):
        assert examples(name), name
        for example in examples(name):
            line = example.replace("nestling", f"{shlex.quote(sys.executable)} -m nestling", 1)
            if set(line) & set("|<>"):
                done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
            else:
                done = here(*shlex.split(example)[1:])
            assert done.returncode == 0, (example, done.stderr)
            assert done.stdout, example
    assert (folder / "frontier.svg").read_text().startswith("<svg")
