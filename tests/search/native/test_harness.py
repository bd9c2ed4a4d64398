"""The kernels under AddressSanitizer and UBSan, on another processor, and what their object files hold."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.search.native.compiled import NATIVE, SETS, compiled, harness, run

ARM, QEMU = "aarch64-linux-gnu-g++", "qemu-aarch64"
SANITIZERS = "-fsanitize=address,undefined,float-cast-overflow"
Build = Callable[[str, str, Sequence[str]], Path]
pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


@pytest.fixture(scope="module")
def build(request: pytest.FixtureRequest) -> Build:
    """Builds the harness once for each set of flags, and keeps it between runs."""

    def make(name: str, compiler: str, flags: Sequence[str]) -> Path:
        cache = request.config.cache
        assert cache is not None
        return harness(cache.mkdir(f"harness-{name}"), compiler, flags)

    return make


@pytest.mark.parametrize(("seed", "trials"), [(1, 40), pytest.param(2, 10_000, marks=pytest.mark.soak)])
def test_no_finding_whatever_a_damaged_file_holds(build: Build, seed: int, trials: int) -> None:
    program = build("sanitized", "g++", ["-O1", "-g", SANITIZERS, "-fno-sanitize-recover=all"])
    out = run([str(program), str(seed), str(trials)], timeout=3 * trials + 60, UBSAN_OPTIONS="print_stacktrace=1")
    assert out.startswith("plain ")


@pytest.mark.skipif(
    shutil.which(ARM) is None or shutil.which(QEMU) is None,
    reason=f"needs {ARM} and {QEMU} (g++-aarch64-linux-gnu, qemu-user)",
)
@pytest.mark.parametrize(("seed", "trials"), [(3, 10), pytest.param(4, 500, marks=pytest.mark.soak)])
def test_arm_gives_the_same_bits(build: Build, seed: int, trials: int) -> None:
    here = run([str(build("plain", "g++", ["-O2"])), str(seed), str(trials)], timeout=trials + 60)
    arm = build("arm", ARM, ["-O2", "-static"])
    there = run([QEMU, str(arm), str(seed), str(trials)], timeout=10 * trials + 60)
    assert there.split()[:2] == ["plain", "neon"]
    assert there.split()[-1] == here.split()[-1]


@pytest.mark.parametrize("file", SETS)
def test_files_of_instruction_sets_emit_nothing_for_others(tmp_path: Path, file: str) -> None:
    """The linker keeps one copy of an inline function; were it the one of such a file, older processors would stop.
    Without optimization every function that may be emitted is."""
    made = tmp_path / "kernels.o"
    compiled(NATIVE / file, made, "g++", ["-O0"])
    defined = [line.split(maxsplit=2)[1:] for line in run(["nm", "-C", "--defined-only", str(made)]).splitlines()]
    assert any("scan_blocks" in name for kind, name in defined), "the file compiles to more than its fallback"
    emitted = [(kind, name) for kind, name in defined if kind not in "tdbr"]
    assert emitted == [("T", f"nestling::{Path(file).stem.removeprefix('kernels_')}_kernels()")]
