"""The memory of a build does not grow with what is built."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from nestling.nesting import Nesting
from nestling.search.index import Index
from tests.search.durability.children import start

WIDTH = 1024


def anonymous() -> int:
    """Bytes of this process that are not pages of files."""
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) << 10


def build(folder: str, rows: int, report: str) -> None:
    """Build an index of a mapped file (zeros that take no disk) and tell the peak of the memory it took."""
    source = Path(folder) / "x.npy"
    np.lib.format.open_memmap(source, "w+", np.float32, (rows, WIDTH)).flush()
    index = Index.create(Path(folder) / "index", Nesting.halving(WIDTH, smallest=64))
    index.derive("sketch-64@1", "copy-64,1024")
    before = anonymous()
    peak, done = [before], threading.Event()

    def watch() -> None:
        while not done.is_set():
            peak.append(max(peak.pop(), anonymous()))
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    index.add(np.load(source, mmap_mode="r"))
    done.set()
    watcher.join()
    Path(report).write_text(f"{peak[0] - before} {len(index)}")


def peak_of(tmp_path: Path, rows: int) -> int:
    child = start(build, str(tmp_path), rows, str(tmp_path / "report"))
    child.join()
    assert child.exitcode == 0
    peak, count = map(int, (tmp_path / "report").read_text().split())
    assert count == rows
    return peak


def test_a_quarter_of_a_gigabyte(tmp_path: Path) -> None:
    assert peak_of(tmp_path, 1 << 16) < 120 << 20  # 256 MB come in, 128 MB are written


@pytest.mark.soak
def test_twenty_four_gigabytes(tmp_path: Path) -> None:
    rows = 6 << 20
    if shutil.disk_usage(tmp_path).free < 2 * rows * WIDTH * 1.5:
        pytest.skip("the disk has no room for 12 GB")
    peak = peak_of(tmp_path, rows)
    assert peak < 400 << 20
    shutil.rmtree(tmp_path / "index")
