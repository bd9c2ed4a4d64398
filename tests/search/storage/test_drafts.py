"""Which segments a new one takes in."""

from __future__ import annotations

import random
from bisect import bisect_left
from itertools import groupby

import pytest

from nestling.search.storage.drafts import FAN, TIERS, folded


@pytest.mark.parametrize(
    ("sizes", "rows", "taken"),
    [
        ([], 1, 0),
        ([1] * 7, 1, 0),
        ([1] * 8, 1, 8),
        ([1] * 20, 1, 20),
        ([2000, *[1] * 8], 1, 8),
        ([1, 1, 2000, *[1] * 6], 1, 0),  # neighbours only
        ([1] * 8, 2000, 8),  # small ones before a larger one
        ([1] * 7, 2000, 0),
        ([2000] * 8 + [1000] * 8, 1000, 16),  # climbs a tier, and meets eight of its own
        ([2000] * 7 + [1000] * 8, 1000, 8),
        ([1 << 20] * 50, 1 << 20, 0),  # only `compact` writes the large ones again
        ([1] * 8, 1 << 20, 0),
    ],
)
def test_the_last_small_ones(sizes: list[int], rows: int, taken: int) -> None:
    assert folded(sizes, rows) == taken


@pytest.mark.parametrize("most", [1, 10, 1000, 100_000])
def test_segments_stay_few_and_rows_are_not_written_often(most: int) -> None:
    draw = random.Random(most)
    sizes: list[int] = []
    added = written = 0
    for _ in range(3000):
        rows = draw.randint(1, most)
        taken = folded(sizes, rows)
        together = rows + sum(sizes[len(sizes) - taken :])
        sizes = [*sizes[: len(sizes) - taken], together]
        added, written = added + rows, written + together
        tiers = [bisect_left(TIERS, size) for size in sizes]
        for tier, run in groupby(tiers):
            assert tier == len(TIERS) or len(list(run)) <= FAN + 1
    small = [size for size in sizes if size <= TIERS[-1]]
    assert len(small) <= 4 * len(TIERS) * FAN
    # In the first tier a row is written again with every FAN-th add until 1,024 rows are together.
    assert written <= added * (len(TIERS) * (FAN + 1) + TIERS[0] / most / FAN)
