"""Folders changed in any way: an error of one sentence or wrong neighbours, never a crash, a hang or another error.

They are used in child processes, whose memory is limited, so that a crash is seen and a header that promises much
cannot take it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.search.durability.children import SERVER
from tests.search.durability.damage import MUTATIONS, abuse, originals, use


def assert_nothing_crashes(tmp_path: Path, seeds: range) -> dict[str, int]:
    originals(tmp_path / "kept")
    report = tmp_path / "report"
    child = SERVER.Process(target=abuse, args=(str(tmp_path / "kept"), str(tmp_path), seeds, str(report)), daemon=True)
    child.start()
    child.join()
    told, *more = report.read_text().split("\n", 1)
    assert child.exitcode == 0, f"exit code {child.exitcode} at seed {told}"
    counts, _, wrong = more[0].partition("\n")
    assert not wrong, wrong
    return json.loads(counts)


def test_undamaged_folders_are_used_without_a_word(tmp_path: Path) -> None:
    """Else the other tests would use nothing."""
    for path in originals(tmp_path):
        assert use(path) == []


def test_five_hundred_damaged_folders(tmp_path: Path) -> None:
    counts = assert_nothing_crashes(tmp_path, range(500))
    assert sum(counts[mutation.__name__] for mutation in set(MUTATIONS)) == 500
    assert counts["opened"] > 100
    assert counts["damage told"] > 250
    assert 20 < counts["verified"] < 200  # bytes between sections, manifests that tell another truth


@pytest.mark.soak
@pytest.mark.parametrize("part", range(5))
def test_five_thousand_damaged_folders(tmp_path: Path, part: int) -> None:
    counts = assert_nothing_crashes(tmp_path, range(10_000 + 1000 * part, 11_000 + 1000 * part))
    assert counts["opened"] > 200
