"""The masked language model against the plain loop over prefixes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from nestling.errors import CheckpointError, InputError
from nestling.models import DualEncoder, load, save
from nestling.models.encoders.text import BertEncoder
from nestling.models.masked import MaskedLanguageModel
from nestling.nesting import Nesting
from nestling.training.masking import Masking
from tests.models.test_encoders import BERT

NESTING = Nesting((3, 6, 12), (2.0, 1.0, 1.0))
MASK, SPECIAL = 49, (0, 1, 2)


def masked_model(nesting: Nesting = NESTING, **changes: float) -> MaskedLanguageModel:
    generator = torch.Generator().manual_seed(0)
    return MaskedLanguageModel(BertEncoder(BERT | changes, generator=generator), nesting, generator=generator)


def masked_texts(count: int = 8, length: int = 10) -> torch.Tensor:
    """1, words 3 … 48, 2, padding."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 49, (count, length), generator=generator)
    ids[:, 0] = 1
    for row, end in zip(ids, torch.randint(2, length, (count,), generator=generator), strict=True):
        row[end:] = 0
        row[end - 1] = 2
    return ids


def test_the_loss_and_its_gradients_equal_the_loop_over_prefixes() -> None:
    model = masked_model().double().eval()
    ids, hidden, words = Masking(MASK, SPECIAL, 50)(masked_texts(), torch.Generator().manual_seed(2))
    found = model.loss(ids, hidden, words)
    parameters = [p for p in model.parameters() if p.requires_grad]
    ours = torch.autograd.grad(found.total, parameters)

    tokens = model.encoder.network(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state[hidden]
    x = model.norm(F.gelu(model.dense(tokens)))
    embeddings = model.encoder.network.embeddings.word_embeddings.weight
    parts = [F.cross_entropy(x[:, :m] @ embeddings[:, :m].T + model.bias, words) for m in NESTING]
    total = sum(c * part for c, part in zip(NESTING.weights, parts, strict=True))
    torch.testing.assert_close(found.per_dim, torch.stack(parts).detach())
    torch.testing.assert_close(ours, torch.autograd.grad(total, parameters), rtol=1e-7, atol=1e-10)

    said = [(x[:, :m] @ embeddings[:, :m].T + model.bias).argmax(1) for m in NESTING]
    assert torch.equal(model.words(ids, hidden), torch.stack(said))


def test_a_single_dim_reads_only_its_own() -> None:
    model = masked_model(Nesting((6,))).eval()
    ids, hidden, words = Masking(MASK, SPECIAL, 50)(masked_texts(), torch.Generator().manual_seed(2))
    assert model.loss(ids, hidden, words).per_dim.shape == (1,)
    assert model(ids, hidden).shape == (int(hidden.sum()), 6)
    with pytest.raises(InputError, match="at most as wide as the encoder"):
        masked_model(Nesting((24,)))


def test_its_folder_gives_it_back(tmp_path: Path) -> None:
    model = masked_model().eval()
    save(model, tmp_path)
    again = load(tmp_path, MaskedLanguageModel)
    ids, hidden = masked_texts(4), torch.zeros(masked_texts(4).shape, dtype=torch.bool)
    hidden[:, 1] = True
    assert torch.equal(again(ids, hidden), model(ids, hidden))
    assert again.nesting == model.nesting
    with pytest.raises(CheckpointError, match="holds a MaskedLanguageModel, not a DualEncoder"):
        load(tmp_path, DualEncoder)
