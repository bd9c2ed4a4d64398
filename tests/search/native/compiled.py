"""Builds harness.cpp together with the kernels, each file with its own flags of CMakeLists.txt."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[3]
NATIVE = ROOT / "src" / "nestling" / "search" / "native"
HARNESS = Path(__file__).with_name("harness.cpp")
SETS = ("kernels_avx2.cpp", "kernels_avx512.cpp")
_ALWAYS = ("-std=c++17", "-ffp-contract=off", "-w", "-pthread", f"-I{NATIVE}")


def sources() -> list[Path]:
    """All but what needs Python."""
    kernels = [path for path in sorted(NATIVE.glob("*.cpp")) if path.name != "module.cpp" and path.name[:5] != "bind_"]
    return [HARNESS, *kernels]


def own_flags(file: str) -> list[str]:
    """The flags that CMakeLists.txt gives a file of its own."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "-ffp-contract=off" in text
    found = re.search(rf'\$\{{NATIVE\}}/{re.escape(file)} PROPERTIES COMPILE_OPTIONS\s+"([^"]*)"', text)
    return found[1].split(";") if found else []


def compiled(file: Path, to: Path, compiler: str, flags: Sequence[str]) -> None:
    """One object file."""
    own = own_flags(file.name) if "aarch64" not in compiler else []
    run([compiler, *_ALWAYS, *flags, *own, "-c", str(file), "-o", str(to)], timeout=300)


def harness(folder: Path, compiler: str, flags: Sequence[str]) -> Path:
    """The harness as a program; what an earlier run left in `folder` is used again."""
    common = hashlib.sha256(" ".join([run([compiler, "--version"]), *_ALWAYS, *flags]).encode())
    for header in sorted(NATIVE.glob("*.h")):
        common.update(header.read_bytes())
    objects: dict[Path, Path] = {}
    for file in sources():
        mine = common.copy()
        mine.update(" ".join(own_flags(file.name)).encode() + file.read_bytes())
        objects[file] = folder / f"{file.stem}-{mine.hexdigest()[:16]}.o"
    program = folder / hashlib.sha256(" ".join(path.name for path in objects.values()).encode()).hexdigest()[:16]
    if not program.exists():
        missing = [file for file, to in objects.items() if not to.exists()]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda file: compiled(file, objects[file], compiler, flags), missing))
        for path in set(folder.iterdir()) - set(objects.values()):
            path.unlink()
        run([compiler, *_ALWAYS, *flags, *map(str, objects.values()), "-o", str(program)])
    return program


def run(command: Sequence[str], *, timeout: float = 60, **environment: str) -> str:
    """What a command prints; its whole output is in the error when it fails."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
