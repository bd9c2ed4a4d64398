"""Pictures with several captions each, of which every pass draws one."""

from __future__ import annotations

import zlib
from collections.abc import Generator

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from nestling.data.draws import CAPTION, drawn
from nestling.errors import ShapeError
from nestling.training.batches import Batches
from nestling.training.feed import Feed, Share


class CaptionFeed(Feed):
    """Pictures in memory; a picture's target is the row of one of its captions, drawn by (seed, epoch).

    Args:
        pixels: (n, c, s, s).
        starts: (n + 1,) picture i has ``rows[starts[i]:starts[i + 1]]``, at least one.
        rows: (m,) of a table of captions.

    Raises:
        ShapeError: not one start per picture and an end.
    """

    def __init__(
        self, pixels: UInt8[np.ndarray, "n c s s"], starts: Int64[np.ndarray, " n1"], rows: Int64[np.ndarray, " m"]
    ) -> None:
        if len(starts) != len(pixels) + 1 or (len(starts) and starts[-1] != len(rows)) or (np.diff(starts) < 1).any():
            raise ShapeError.of("starts", f"{len(pixels) + 1} that rise to the {len(rows)} rows", len(starts))
        self.pixels, self.starts, self.rows = pixels, starts, rows

    def __len__(self) -> int:
        return len(self.pixels)

    def fingerprint(self) -> dict[str, int]:
        """How many pictures, and a checksum of their captions."""
        captions = zlib.crc32(np.ascontiguousarray(self.rows).tobytes(), zlib.crc32(self.starts.tobytes()))
        return {"samples": len(self), "captions": captions}

    def shares(self, batches: Batches, start: int) -> Generator[Share]:
        """Cut out of the arrays, augmented."""
        order = targets = np.empty(0, np.int64)
        for step in range(start, batches.total):
            if step == start or step % batches.per_epoch == 0:
                epoch = step // batches.per_epoch
                order, targets = batches.order(epoch), self.drawn(batches.config.seed, epoch)
            chosen = batches.positions(order, step)
            pixels = torch.from_numpy(np.ascontiguousarray(self.pixels[chosen]))
            yield batches.augmented(pixels, step), torch.from_numpy(targets[chosen])

    def drawn(self, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
        """The row of one caption of each picture."""
        counts = np.diff(self.starts)
        lot = drawn(seed, CAPTION, epoch).random(len(self))
        return self.rows[self.starts[:-1] + (lot * counts).astype(np.int64)]
