"""A batch as a pure function of (seed, step): what makes a resumed run the same run.

Nothing here has a state. The permutation of an epoch comes from (seed, epoch), the augmentation of a batch
from (seed, step); both are drawn for the whole batch and then cut, so that they do not depend on how many
processes share the work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor
from torch.nn.functional import pad

from nestling.data.draws import AUGMENT, MASK, MODEL, ORDER, PREFIXES, drawn
from nestling.data.samples import Order
from nestling.errors import InputError
from nestling.training.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches of a run, and of them the share of one process.

    Args:
        count: n, samples in the data.
        config: batch size, seed, augmentation.
        rank, world: this process among how many.

    Raises:
        InputError: fewer samples than one batch, or a batch that the processes cannot share evenly.
    """

    count: int
    config: TrainConfig
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        size = self.config.batch_size
        if self.count < size:
            raise InputError.of("batch_size", f"at most the {self.count} samples", size, "Choose a smaller one.")
        if size % self.world:
            raise InputError.of("batch_size", f"a multiple of the {self.world} processes", size)
        parts = self.config.accumulate
        if size % (self.world * parts):
            raise InputError.of("accumulate", f"a divisor of each process's {size // self.world} samples", parts)

    @property
    def per_epoch(self) -> int:
        """Steps an epoch; the last, incomplete batch is left out (another one in every epoch)."""
        return self.count // self.config.batch_size

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.config.steps or self.per_epoch * self.config.epochs

    def order(self, epoch: int) -> Int64[np.ndarray, " n"]:
        """The permutation of an epoch."""
        return drawn(self.config.seed, ORDER, epoch).permutation(self.count)

    @property
    def share(self) -> int:
        """Samples a step of this process."""
        return self.config.batch_size // self.world

    def positions(self, order: Order, step: int) -> Int64[np.ndarray, " s"]:
        """Which samples this process takes at a step, given the order of the step's epoch."""
        size = self.config.batch_size
        first = step % self.per_epoch * size
        return order[first : first + size][self._mine()]

    def augmented(
        self, images: UInt8[Tensor, "s ch h w"] | Shaped[Tensor, "s ..."], step: int
    ) -> UInt8[Tensor, "s ch h w"] | Shaped[Tensor, "s ..."]:
        """This process's share of a batch, flipped and shifted; anything but images passes as it is."""
        config = self.config
        if not config.augment or images.ndim != 4:
            return images
        draw = drawn(config.seed, AUGMENT, step)
        mirror = draw.random(config.batch_size)[self._mine()] < 0.5
        shift = draw.integers(0, 2 * config.crop_padding + 1, (2, config.batch_size))[:, self._mine()]
        return crop(
            images,
            torch.from_numpy(shift),
            torch.from_numpy(mirror & config.flip),
            padding=config.crop_padding,
        )

    def weights(self, weights: Float[Tensor, " k"], step: int) -> Float[Tensor, " k"]:
        """The weights c_m of a step: where not all prefixes have a loss, those that do count K / count times."""
        count = self.config.prefixes_per_step
        if count is None or count >= len(weights):
            return weights
        lot = drawn(self.config.seed, PREFIXES, step).permutation(len(weights))[:count]
        kept = torch.zeros_like(weights)
        kept[torch.from_numpy(lot)] = len(weights) / count
        return weights * kept

    def model_seed(self, step: int, part: int = 0) -> int:
        """The seed of what the model itself draws (dropout) in a part of a step, another one in each process."""
        key = (self.config.seed, MODEL, step, self.rank)
        return int(drawn(*(key if part == 0 else (*key, part))).integers(2**63))

    def lots(self, step: int) -> Int64[np.ndarray, " s"]:
        """A number for each sample of this process's share of a step, by which something is drawn for it."""
        return drawn(self.config.seed, MASK, step).integers(2**63, size=self.config.batch_size)[self._mine()]

    def _mine(self) -> slice:
        return slice(self.rank * self.share, (self.rank + 1) * self.share)


def crop(
    images: Shaped[Tensor, "s ch h w"],
    shift: Int64[Tensor, "2 s"],
    mirror: Shaped[Tensor, " s"],
    *,
    padding: int,
) -> Shaped[Tensor, "s ch h w"]:
    """Cut an h×w window at ``shift`` (down, right) out of each zero-padded image, mirrored where told.

    One gather for the whole batch: about a hundredth of the time of a training step.
    """
    _, _, h, w = images.shape
    padded = pad(images, (padding,) * 4) if padding else images
    columns = torch.where(mirror[:, None], torch.arange(w - 1, -1, -1), torch.arange(w))
    rows = shift[0][:, None] + torch.arange(h)
    columns = shift[1][:, None] + columns
    sample = torch.arange(len(images))[:, None, None]
    # Channels last while gathering: whole pixels move, and the encoder wants that order.
    return padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
