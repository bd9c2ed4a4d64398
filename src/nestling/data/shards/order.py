"""The order of a pass over shards: each part of a batch reads one shard after the other."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from nestling.data.draws import ORDER, drawn

MOST_LANES = 32
"""Shards that a batch reads from at once, at most."""


def lanes_of(batch_size: int, shards: int) -> int:
    """How many shards a batch reads from at once: the largest divisor of the batch that is not above their number."""
    return max(n for n in range(1, min(batch_size, max(1, shards), MOST_LANES) + 1) if batch_size % n == 0)


class ShardOrder:
    """The samples of one pass, as a function of (seed, epoch) alone.

    The shards are permuted and laid end to end; the row is cut into equally long lanes, and every batch takes as many
    samples from each. Within a lane the samples of a shard are permuted. So a share of a batch, which is some lanes,
    needs some shards only, every sample comes once, and a position is found without reading those before it.

    Args:
        counts: samples of each shard.
        seed, epoch: what decides.
        batch_size: of all processes together.
    """

    def __init__(self, counts: Int64[np.ndarray, " shards"], seed: int, epoch: int, batch_size: int) -> None:
        self.seed, self.epoch, self.batch_size = seed, epoch, batch_size
        self.lanes = lanes_of(batch_size, len(counts))
        self.shards = drawn(seed, ORDER, epoch).permutation(len(counts))
        self.first_rows = np.concatenate([[0], np.cumsum(counts)[:-1]])[self.shards]  # of a shard, in its own order
        self.ends = np.cumsum(counts[self.shards])
        self.length = int(self.ends[-1]) // self.lanes
        self._pieces: dict[tuple[int, int], np.ndarray] = {}

    def __getitem__(self, steps: slice) -> Int64[np.ndarray, " s"]:
        """The rows of one or more whole batches."""
        each = self.batch_size // self.lanes
        first, last = steps.start // self.batch_size * each, steps.stop // self.batch_size * each
        rows = np.array([[self._row(lane, at) for at in range(first, last)] for lane in range(self.lanes)], np.int64)
        return rows.reshape(self.lanes, -1, each).transpose(1, 0, 2).reshape(-1)

    def _row(self, lane: int, at: int) -> int:
        """The sample at a place of a lane."""
        place = lane * self.length + at
        shard = int(np.searchsorted(self.ends, place, side="right"))
        begin = int(self.ends[shard - 1]) if shard else 0
        low, high = max(begin, lane * self.length), min(int(self.ends[shard]), (lane + 1) * self.length)
        return int(self.first_rows[shard]) + low - begin + int(self._permuted(lane, shard, high - low)[place - low])

    def _permuted(self, lane: int, shard: int, count: int) -> Int64[np.ndarray, " c"]:
        key = (lane, shard)
        if key not in self._pieces:
            if len(self._pieces) > 4 * self.lanes:
                self._pieces.clear()
            self._pieces[key] = drawn(self.seed, ORDER, self.epoch, lane, int(self.shards[shard])).permutation(count)
        return self._pieces[key]
