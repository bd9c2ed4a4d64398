"""The layer table of docs/architecture.md, held: arrows point down only, no cycles, and light layers stay light.

A lazy import (inside a function) counts as an arrow like any other.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "nestling"

# Layer → the layers it may import directly; it may also import what those may. Every layer may use errors.
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "nesting": set(),
    "files": set(),
    "principal": set(),
    "metrics": {"nesting"},
    "losses": {"nesting"},
    "data": {"nesting", "files"},
    "models": {"losses", "files"},
    "search": {"nesting", "metrics", "files"},
    "evaluation": {"nesting", "metrics", "search", "files"},
    "training": {"losses", "models", "data"},
    "baselines": {"training", "models", "evaluation", "principal"},
    "adaptor": {"losses", "search", "training", "principal"},
    "integrations": {"models", "evaluation", "adaptor"},
    "engines": {"search"},
    "studies": {"baselines", "integrations", "adaptor", "engines"},
    "cli": {"studies"},
}
TORCH_FREE = ("errors", "nesting", "files", "principal", "metrics", "data", "search", "evaluation", "engines")
LIGHT_TO_IMPORT = (*TORCH_FREE, "adaptor")  # the adaptor learns with torch, which it loads when it does
HEAVY = {"torch", "accelerate", "transformers"}


def reachable(layer: str) -> set[str]:
    """All layers that `layer` may import."""
    found = {"errors"}
    for below in BELOW[layer]:
        found |= {below} | reachable(below)
    return found


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, as a dotted name."""
    package = ("nestling", *path.relative_to(SOURCE).parts[:-1])
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found |= {module} if module != "nestling" else {f"nestling.{alias.name}" for alias in node.names}
    return found


def layer_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def wrong_arrows(files: list[Path]) -> list[str]:
    """One line per import that the table forbids."""
    wrong = []
    for path in files:
        layer = layer_of(path)
        allowed = reachable(layer) | {layer}
        for module in sorted(imports_of(path)):
            target = module.split(".")[1] if module.startswith("nestling.") else None
            if target is not None and target in BELOW and target not in allowed:
                wrong.append(f"{path.relative_to(SOURCE)} imports {module}: {layer} may use {sorted(allowed)}")
            if layer in TORCH_FREE and module.split(".")[0] in HEAVY and not _only_for_types(path, module):
                wrong.append(f"{path.relative_to(SOURCE)} imports {module}: {layer} does without torch")
    return wrong


def _only_for_types(path: Path, module: str) -> bool:
    tree = ast.parse(path.read_text())
    guarded = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    inside = [n for block in guarded for n in ast.walk(block) if isinstance(n, ast.Import | ast.ImportFrom)]
    everywhere = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    return all(n in inside for n in everywhere if module in ast.unparse(n))


def source_files() -> list[Path]:
    return [p for p in sorted(SOURCE.rglob("*.py")) if p.name != "__init__.py" or p.parent != SOURCE]


def test_every_file_has_a_layer() -> None:
    assert {layer_of(p) for p in source_files()} <= set(BELOW) | {"__main__"}


def test_arrows_point_down_only() -> None:
    files = [p for p in source_files() if p.name != "__main__.py"]
    assert wrong_arrows(files) == []


def test_the_check_sees_a_wrong_arrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    (tmp_path / "search").mkdir()
    bad = tmp_path / "search" / "bad.py"
    bad.write_text("def f():\n    from nestling.models import heads\n    import torch\n")
    lines = wrong_arrows([bad])
    assert len(lines) == 2
    assert "nestling.models" in lines[0]
    assert "does without torch" in lines[1]
    bad.write_text("from ..training import fit\nfrom nestling import cli\n")
    assert len(wrong_arrows([bad])) == 2
    bad.write_text("from nestling.metrics import top1\nfrom . import plan\n")
    assert wrong_arrows([bad]) == []


def test_no_cycles_between_modules() -> None:
    known = {_module(p): p for p in source_files()}
    graph = {}
    for name, path in known.items():
        targets = {m for m in imports_of(path) if m in known}
        # `from nestling.a import b` names the package; a package's __init__ imports its own files, not the reverse.
        graph[name] = {t for t in targets if t != name and not name.startswith(t + ".")}
    cycle = None
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        cycle = error.args[1]
    assert cycle is None


def _module(path: Path) -> str:
    parts = ("nestling", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_files_stay_readable() -> None:
    long = {str(p.relative_to(SOURCE)): n for p in source_files() if (n := p.read_text().count("\n")) > 400}
    assert long == {}


def loaded_after(statement: str) -> set[str]:
    """The top-level modules (and the native one) that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(' '.join(m for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_nestling_is_light() -> None:
    loaded = loaded_after("import nestling; nestling.Nesting.halving(64); nestling.__version__")
    assert not loaded & {"torch", "sklearn", "matplotlib", "nestling.search._native", "nestling.losses"}


@pytest.mark.parametrize("layer", LIGHT_TO_IMPORT)
def test_light_layers_load_no_torch(layer: str) -> None:
    assert "torch" not in loaded_after(f"import nestling.{layer}")
