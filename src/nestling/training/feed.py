"""Where the batches of a run come from."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Generator

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from nestling.errors import ShapeError
from nestling.training.batches import Batches

Share = tuple[Shaped[Tensor, "s ..."], Shaped[Tensor, "s ..."]]
"""One process's part of a batch: inputs and targets."""


class Feed(ABC):
    """Samples with targets, in batches that are a function of (seed, step)."""

    @abstractmethod
    def __len__(self) -> int:
        """n, samples."""

    @abstractmethod
    def fingerprint(self) -> dict[str, int]:
        """What tells these samples from others: a run is resumed with equal ones only."""

    @abstractmethod
    def shares(self, batches: Batches, start: int) -> Generator[Share]:
        """This process's shares of all batches from step `start` on."""

    def faults(self) -> tuple[str, ...]:
        """What could not be read so far, each once, with the reason; others stood in."""
        return ()


class ArrayFeed(Feed):
    """Samples in memory; pictures are flipped and shifted by the configuration.

    Args:
        inputs: (n, …); bytes (n, c, h, w) are pictures.
        targets: (n, …).

    Raises:
        ShapeError: not one target per input.
    """

    def __init__(
        self,
        inputs: Shaped[np.ndarray, "n ..."] | Shaped[Tensor, "n ..."],
        targets: Shaped[np.ndarray, "n ..."] | Shaped[Tensor, "n ..."],
    ) -> None:
        if len(inputs) != len(targets):
            raise ShapeError.of("targets", f"one per input ({len(inputs)})", len(targets))
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.inputs)

    def fingerprint(self) -> dict[str, int]:
        """How many samples, and a checksum of their targets."""
        plain = self.targets.cpu().numpy() if isinstance(self.targets, Tensor) else self.targets
        return {"samples": len(plain), "labels": zlib.crc32(np.ascontiguousarray(plain).tobytes())}

    def shares(self, batches: Batches, start: int) -> Generator[Share]:
        """Cut out of the arrays, augmented."""
        order = np.empty(0, np.int64)
        for step in range(start, batches.total):
            if step == start or step % batches.per_epoch == 0:
                order = batches.order(step // batches.per_epoch)
            chosen = batches.positions(order, step)
            yield batches.augmented(_take(self.inputs, chosen), step), _take(self.targets, chosen)


def _take(
    samples: Shaped[np.ndarray, "n ..."] | Shaped[Tensor, "n ..."], chosen: Shaped[np.ndarray, " s"]
) -> Shaped[Tensor, "s ..."]:
    if isinstance(samples, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(samples[chosen]))
    return samples[torch.from_numpy(chosen).to(samples.device)]
