"""The public surface, the wheel, and the README's example."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import nestling

ROOT = Path(__file__).parents[1]
PACKAGES = ("losses", "models", "data", "data.icons", "data.shards", "training", "search", "evaluation", "baselines")
PACKAGES += ("integrations", "adaptor", "engines")


def documented(section: str) -> set[str]:
    """The names that a section of docs/reference.md lists."""
    text = (ROOT / "docs" / "reference.md").read_text()
    body = text.split(f"## {section}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^- `([A-Za-z0-9_]+)", body, re.MULTILINE))


def test_the_public_names_are_the_documented_ones() -> None:
    assert set(nestling.__all__) == documented("nestling")
    for name in nestling.__all__:
        assert getattr(nestling, name) is not None
    assert set(dir(nestling)) == set(nestling.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nest'"):
        _ = nestling.nest


@pytest.mark.parametrize("package", PACKAGES)
def test_each_packages_names_are_the_documented_ones(package: str) -> None:
    module = importlib.import_module(f"nestling.{package}")
    assert set(module.__all__) == documented(f"nestling.{package}")
    assert all(getattr(module, name, None) is not None for name in module.__all__)


def test_the_readmes_example_runs(tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert example is not None
    assert len([line for line in example[1].splitlines() if line.strip()]) <= 12
    done = subprocess.run([sys.executable, "-c", example[1]], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


SEARCH = """
import sys, numpy as np, nestling as nt
x = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float32)
hits = nt.funnel(x, x[:3], "8:100,64:5")
assert hits.ids[:, 0].tolist() == [0, 1, 2], hits.ids
assert np.allclose(nt.truncate(x, 8)[0] @ nt.truncate(x, 8)[0], 1)
assert "torch" not in sys.modules
try:
    nt.losses
except ImportError as error:
    print("no torch:", error)
print(nt.__version__, nt.__file__)
"""


def test_a_wheel_in_an_empty_environment_imports_and_searches(tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    tools = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True, env=tools)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True, capture_output=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE", "PYTHON"))}
    done = subprocess.run([python, "-c", SEARCH], capture_output=True, text=True, cwd=tmp_path, check=False, env=clean)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "empty") in done.stdout
    assert "no torch: torch is not installed. Run: pip install 'nestling[train]'" in done.stdout
    command = [tmp_path / "empty" / "bin" / "nestling", "demo"]
    refused = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, env=clean)
    assert refused.returncode == 2
    assert "pip install 'nestling[train]'" in refused.stderr
    assert "Traceback" not in refused.stderr
