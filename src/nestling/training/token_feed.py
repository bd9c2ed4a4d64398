"""Rows of token ids, whose targets are lots: in memory or mapped from a file."""

from __future__ import annotations

import zlib
from collections.abc import Generator

import numpy as np
import torch
from jaxtyping import Integer

from nestling.training.batches import Batches
from nestling.training.feed import Feed, Share

_AT_ONCE = 1 << 16  # rows


class TokenFeed(Feed):
    """Rows of ids, each its own target; with it goes a number, by which the objective draws what is hidden of it.

    Args:
        rows: (n, t), of any whole numbers; only the rows of a batch are read at a time.
    """

    def __init__(self, rows: Integer[np.ndarray, "n t"]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def fingerprint(self) -> dict[str, int]:
        """How many, how long, and a checksum of all ids."""
        found = 0
        for at in range(0, len(self.rows), _AT_ONCE):
            found = zlib.crc32(np.ascontiguousarray(self.rows[at : at + _AT_ONCE], "<u4").tobytes(), found)
        return {"samples": len(self.rows), "length": self.rows.shape[1], "tokens": found}

    def shares(self, batches: Batches, start: int) -> Generator[Share]:
        """Ids as int64; the targets are numbers of the step and the row, whichever process has it."""
        order = np.empty(0, np.int64)
        for step in range(start, batches.total):
            if step == start or step % batches.per_epoch == 0:
                order = batches.order(step // batches.per_epoch)
            ids = torch.from_numpy(self.rows[batches.positions(order, step)].astype(np.int64))
            yield ids, torch.from_numpy(batches.lots(step))
