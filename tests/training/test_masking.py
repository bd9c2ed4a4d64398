"""Hiding tokens, and training a model that tells them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.training import TokenFeed, TrainConfig, fit
from nestling.training.masking import Masked, MaskedLanguageObjective, Masking
from tests.models.test_masked import MASK, NESTING, SPECIAL, masked_model, masked_texts


def test_what_is_hidden_is_as_bert_hides_it() -> None:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 40, (2000, 22), generator=generator)
    ids[:, 0], ids[:, 20], ids[:, 21] = 1, 2, 0
    new, hidden, words = Masking(MASK, SPECIAL, 50)(ids, generator)
    assert not hidden[:, [0, 20, 21]].any()
    assert hidden.any(dim=1).all()
    assert torch.equal(words, ids[hidden])
    assert torch.equal(new[~hidden], ids[~hidden])
    assert hidden[:, 1:20].float().mean() == pytest.approx(0.15, abs=0.01)
    masked = new[hidden] == MASK
    same = new[hidden] == words
    assert masked.float().mean() == pytest.approx(0.8, abs=0.02)
    assert same.float().mean() == pytest.approx(0.1 + 0.1 / 50, abs=0.015)


def test_a_text_without_words_hides_none_and_short_ones_hide_one() -> None:
    ids = torch.tensor([[1, 2, 0], [1, 7, 2]])
    _, hidden, words = Masking(MASK, SPECIAL, 50, share=0.01)(ids, torch.Generator().manual_seed(0))
    assert hidden.tolist() == [[False, False, False], [False, True, False]]
    assert words.tolist() == [7]
    with pytest.raises(InputError, match="share must be between 0 and 1"):
        Masking(MASK, SPECIAL, 50, share=0.0)


def test_hidden_tokens_do_not_depend_on_the_prefixes() -> None:
    """Models of different widths see the same masks, step by step."""
    seen: list[list[torch.Tensor]] = []

    class Watched(Masking):
        def __call__(self, ids: torch.Tensor, *given: torch.Generator | None, **lots: torch.Tensor | None) -> Masked:
            masked = super().__call__(ids, *given, **lots)
            seen[-1].append(masked.ids)
            return masked

    for nesting in (NESTING, Nesting((6,))):
        seen.append([])
        objective = MaskedLanguageObjective(masked_model(nesting), Watched(MASK, SPECIAL, 50))
        fit(objective, TokenFeed(masked_texts(16).numpy()), _config(epochs=2))
    assert len(seen[0]) == 4
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))
    assert not torch.equal(seen[0][0], seen[0][2])


def test_what_is_hidden_of_a_text_does_not_depend_on_what_stands_beside_it() -> None:
    masking, ids = Masking(MASK, SPECIAL, 50), masked_texts(16)
    lots = torch.arange(16)
    whole = masking(ids, lots=lots)
    for rows in (slice(0, 5), slice(9, 16)):
        assert torch.equal(masking(ids[rows], lots=lots[rows]).ids, whole.ids[rows])
    longer = torch.cat([ids, torch.zeros_like(ids)], dim=1)  # padded as beside a longer text
    assert torch.equal(masking(longer, lots=lots).ids[:, : ids.shape[1]], whole.ids)
    assert not torch.equal(whole.hidden, masking(ids, lots=lots + 1).hidden)


def _config(**changes: float) -> TrainConfig:
    return TrainConfig(
        **{"epochs": 30, "batch_size": 8, "lr": 3e-3, "label_smoothing": 0.0, "augment": False, **changes}
    )


def test_every_prefix_learns_what_words_follow() -> None:
    """Texts count upwards: a hidden word follows from its neighbours."""
    starts = np.random.default_rng(0).integers(3, 40, 256)
    ids = np.concatenate([np.full((256, 1), 1), starts[:, None] + np.arange(7), np.full((256, 1), 2)], axis=1)
    model = masked_model(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    masking = Masking(MASK, SPECIAL, 50)
    fit(
        MaskedLanguageObjective(model, masking),
        TokenFeed(ids),
        _config(epochs=60, batch_size=16, lr=1e-2),
    )
    masked = masking(torch.from_numpy(ids), torch.Generator().manual_seed(5))
    right = (model.words(masked.ids, masked.hidden) == masked.words).float().mean(dim=1)
    assert right[2] > 0.6
    assert right[1] > 0.3
    assert (right > 0.1).all()
