from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import pad

from nestling.errors import InputError
from nestling.training import TrainConfig
from nestling.training.batches import Batches, crop


def _config(batch: int = 8, seed: int = 0, padding: int = 2) -> TrainConfig:
    return TrainConfig(epochs=3, batch_size=batch, seed=seed, crop_padding=padding)


def test_an_epoch_sees_each_sample_once_and_epochs_differ() -> None:
    batches = Batches(40, _config())
    epochs = [np.concatenate([batches.positions(batches.order(e), e * 5 + i) for i in range(5)]) for e in range(2)]
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs)
    assert (epochs[0] != epochs[1]).any()
    assert (batches.order(0) != Batches(40, _config(seed=1)).order(0)).any()


@given(world=st.sampled_from([1, 2, 4]), step=st.integers(0, 14))
def test_the_processes_share_the_batch_of_one(world: int, step: int) -> None:
    alone = Batches(40, _config())
    images = torch.randint(0, 256, (40, 2, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    shares = [Batches(40, _config(), rank, world) for rank in range(world)]
    order = alone.order(step // alone.per_epoch)
    chosen = [share.positions(order, step) for share in shares]
    assert np.concatenate(chosen).tolist() == alone.positions(order, step).tolist()
    parts = [s.augmented(images[torch.from_numpy(c)], step) for s, c in zip(shares, chosen, strict=True)]
    whole = alone.augmented(images[torch.from_numpy(alone.positions(order, step))], step)
    assert torch.equal(torch.cat(parts), whole)
    assert len({share.model_seed(step) for share in shares}) == world


def test_crops_are_those_of_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (9, 3, 7, 5), dtype=torch.uint8, generator=generator)
    shift = torch.randint(0, 5, (2, 9), generator=generator)
    mirror = torch.arange(9) % 2 == 0
    got = crop(images, shift, mirror, padding=2)
    for i in range(9):
        y, x = shift[:, i].tolist()
        window = pad(images[i], (2, 2, 2, 2))[:, y : y + 7, x : x + 5]
        assert torch.equal(got[i], window.flip(-1) if mirror[i] else window)


def test_augmentation_is_a_function_of_seed_and_step_and_can_be_turned_off() -> None:
    images = torch.randint(0, 256, (8, 1, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batches = Batches(8, _config())
    assert torch.equal(batches.augmented(images, 4), batches.augmented(images, 4))
    assert not torch.equal(batches.augmented(images, 4), batches.augmented(images, 5))
    assert Batches(8, TrainConfig(batch_size=8, augment=False)).augmented(images, 0) is images
    still = TrainConfig(batch_size=8, flip=False, crop_padding=0)
    assert torch.equal(Batches(8, still).augmented(images, 0), images)
    flat = images.flatten(1)
    assert batches.augmented(flat, 0) is flat


def test_batches_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="at most the 7 samples"):
        Batches(7, _config())
    with pytest.raises(InputError, match="a multiple of the 3 processes"):
        Batches(40, _config(), 0, 3)
