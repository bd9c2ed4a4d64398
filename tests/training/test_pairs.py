"""Pairs of texts as an objective: the loss, its gradients by chunks, texts that pairs share."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from nestling.errors import InputError
from nestling.losses import contrastive
from nestling.nesting import Nesting
from nestling.training.pairs import PairFeed, PairObjective, _elsewhere, joined

NESTING = Nesting((2, 4, 6))
TEXTS = [f"{'word ' * (i % 5)}{i}" for i in range(20)]


class Letters(nn.Module):
    """A vector of each text by its letters, with dropout; counts what it encodes."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.map = nn.Sequential(nn.Linear(128, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 6))
        self.seen: list[int] = []

    def embed(self, texts: Sequence[str]) -> Tensor:
        self.seen.append(len(texts))
        counts = torch.zeros(len(texts), 128)
        for row, text in enumerate(texts):
            for place, letter in enumerate(text):
                counts[row, ord(letter) % 128] += 1 + 0.1 * place
        return self.map(counts)


def batch() -> tuple[Tensor, Tensor]:
    return torch.tensor([0, 1, 2, 3, 0]), torch.tensor([[10, 15], [11, 16], [12, 10], [13, 17], [14, 18]])


def test_the_loss_is_that_of_all_texts_at_once() -> None:
    queries, targets = batch()
    model = Letters()
    found = PairObjective(model, TEXTS, NESTING, temperature=0.1, chunk=3)(queries, targets)
    x, y = (model.embed([TEXTS[int(i)] for i in rows]) for rows in (queries, targets[:, 0]))
    # Pair 2's negative answers pair 0: another one of the batch stands in its place.
    z = model.embed([TEXTS[i] for i in (15, 16, 15, 17, 18)])
    groups = torch.tensor([0, 1, 2, 3, 0])  # the first and the last ask the same
    wanted = contrastive(x, y, NESTING, 0.1, groups=groups, negatives=z, symmetric=False)
    assert torch.allclose(found.per_dim, wanted.per_dim, atol=1e-5)


def test_a_rotation_turns_what_the_prefixes_are_of_and_does_not_learn() -> None:
    queries, targets = batch()
    model, rotation = Letters(), torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)))[0]
    objective = PairObjective(model, TEXTS, NESTING, temperature=0.1, chunk=3, rotation=rotation)
    found = objective(queries, targets[:, :1])
    x, y = (model.embed([TEXTS[int(i)] for i in rows]) @ rotation for rows in (queries, targets[:, 0]))
    wanted = contrastive(x, y, NESTING, 0.1, groups=torch.tensor([0, 1, 2, 3, 0]), symmetric=False)
    assert torch.allclose(found.per_dim, wanted.per_dim, atol=1e-5)
    plain = PairObjective(model, TEXTS, NESTING, temperature=0.1)(queries, targets[:, :1])
    assert torch.allclose(found.per_dim[-1], plain.per_dim[-1], atol=1e-5)  # full width is as it was
    assert not torch.allclose(found.per_dim[0], plain.per_dim[0], atol=1e-2)
    assert {name for name, _ in objective.named_parameters()} == {f"model.{n}" for n, _ in model.named_parameters()}


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_chunks_change_no_gradient_and_hold_one_at_a_time(dropout: float) -> None:
    queries, targets = batch()
    grown: list[list[Tensor]] = []
    for chunk in (2, 100):
        model = Letters(dropout)
        objective = PairObjective(model, TEXTS, NESTING, chunk=chunk)
        torch.manual_seed(1)
        objective(queries, targets).total.backward()
        grown.append([p.grad for p in model.parameters() if p.grad is not None])
        assert max(model.seen) <= chunk
        texts = 4 + 5 + 4  # each once: a query is asked twice, and a negative is an answer
        assert sum(model.seen) == (2 * texts if chunk == 2 else texts)
    if dropout == 0:  # else the masks differ with the chunks
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*grown, strict=True))
    model = Letters(dropout)
    objective = PairObjective(model, TEXTS, NESTING, chunk=2)
    torch.manual_seed(1)
    objective(queries, targets).total.backward()
    again = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(grown[0], again, strict=True))


def test_the_dropout_of_a_chunk_is_drawn_once() -> None:
    """A gradient by differences: encoded anew with another mask it would be wrong."""
    queries, targets = batch()
    model = Letters(0.4)
    objective = PairObjective(model, TEXTS, NESTING, temperature=0.5, chunk=4)
    weight = model.map[3].weight

    def value() -> Tensor:
        torch.manual_seed(5)
        return objective(queries, targets).total

    value().backward()
    assert weight.grad is not None
    wanted = weight.grad[1, 3].item()
    with torch.no_grad():
        weight[1, 3] += 1e-2
        above = value().item()
        weight[1, 3] -= 2e-2
        below = value().item()
    assert (above - below) / 2e-2 == pytest.approx(wanted, rel=0.05, abs=1e-3)


def test_pairs_that_share_texts_are_joined() -> None:
    assert joined(torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6])) is None
    found = joined(torch.tensor([1, 2, 1, 3, 4]), torch.tensor([9, 8, 7, 7, 8]))
    assert found is not None
    assert found.tolist() == [0, 1, 0, 0, 1]
    chain = joined(torch.arange(6) // 2, (torch.arange(6) + 1) // 2 + 10)
    assert chain is not None
    assert set(chain.tolist()) == {0}


def test_an_answer_is_no_negative() -> None:
    assert _elsewhere(torch.tensor([5, 6, 7]), torch.tensor([1, 2])).tolist() == [5, 6, 7]
    assert _elsewhere(torch.tensor([5, 1, 7, 2]), torch.tensor([1, 2])).tolist() == [5, 5, 7, 7]
    assert _elsewhere(torch.tensor([1, 2]), torch.tensor([1, 2])).tolist() == []


def test_texts_are_a_part_of_what_is_resumed() -> None:
    queries, targets = (each.numpy() for each in batch())
    one, other = (PairFeed(queries, targets, [*TEXTS[:-1], last]).fingerprint() for last in ("a", "b"))
    assert one != other
    with pytest.raises(InputError, match="temperature and chunk"):
        PairObjective(Letters(), TEXTS, NESTING, temperature=0.0)
