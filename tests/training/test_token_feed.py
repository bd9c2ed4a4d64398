"""Rows of token ids as the batches of a run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nestling.training import ArrayFeed, TokenFeed, TrainConfig
from nestling.training.batches import Batches

ROWS = np.random.default_rng(0).integers(0, 60_000, (20, 9)).astype(np.uint16)
CONFIG = TrainConfig(epochs=3, batch_size=6, warmup_epochs=0.0, augment=False)


def test_its_batches_are_those_of_the_array() -> None:
    for rank in (0, 1):
        batches = Batches(20, CONFIG, rank, 2)
        plain = ArrayFeed(ROWS.astype(np.int64), np.zeros(20, np.int64))
        pairs = list(zip(TokenFeed(ROWS).shares(batches, 4), plain.shares(batches, 4), strict=True))
        assert len(pairs) == 5
        for (ids, targets), (wanted, _) in pairs:
            assert ids.dtype == wanted.dtype
            assert ids.equal(wanted)
            assert len(targets) == len(ids) == 3
    whole = [targets for _, targets in TokenFeed(ROWS).shares(Batches(20, CONFIG), 4)]
    halves = [[t for _, t in TokenFeed(ROWS).shares(Batches(20, CONFIG, rank, 2), 4)] for rank in (0, 1)]
    assert all(torch.cat(parts).equal(both) for both, *parts in zip(whole, *halves, strict=True))
    assert len({int(lot) for lots in whole for lot in lots}) == 30


def test_its_fingerprint_is_of_every_id_whatever_their_type(monkeypatch: pytest.MonkeyPatch) -> None:
    about = TokenFeed(ROWS).fingerprint()
    monkeypatch.setattr("nestling.training.token_feed._AT_ONCE", 3)
    assert about == TokenFeed(ROWS.astype(np.int64)).fingerprint()
    changed = ROWS.copy()
    changed[0, 0] ^= 1
    assert about != TokenFeed(changed).fingerprint()
    assert about != TokenFeed(ROWS.reshape(10, 18)).fingerprint()
