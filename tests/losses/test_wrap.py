"""`nest`: any loss on every prefix."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nestling.errors import ShapeError
from nestling.losses import nest
from nestling.nesting import Nesting, truncate

NESTING = Nesting((2, 4, 8), (1.0, 2.0, 0.5))


def test_a_triplet_loss_is_summed_over_prefixes() -> None:
    anchor, positive, negative = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = nest(F.triplet_margin_loss, NESTING)(anchor, positive, negative=negative, margin=0.3)
    parts = [F.triplet_margin_loss(anchor[:, :m], positive[:, :m], negative[:, :m], margin=0.3) for m in NESTING]
    torch.testing.assert_close(loss.per_dim, torch.stack(parts).detach())
    torch.testing.assert_close(loss.total, parts[0] + 2 * parts[1] + 0.5 * parts[2])
    assert loss.total.requires_grad
    assert not loss.per_dim.requires_grad


def test_other_arguments_pass_through_as_they_are() -> None:
    x, labels, other = torch.randn(5, 8), torch.arange(8).repeat(5, 1)[:, :8], torch.randn(5, 3)
    seen = []

    def spy(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, flag: bool) -> torch.Tensor:
        seen.append((a.shape[-1], b is labels, c is other, flag))
        return a.sum()

    nest(spy, NESTING)(x, labels, other, True)
    assert seen == [(2, True, True, True), (4, True, True, True), (8, True, True, True)]


def test_prefixes_are_renormalised_when_asked() -> None:
    x = torch.randn(5, 8)
    loss = nest(lambda a: a[:, 0].sum(), NESTING, normalize=True)(x)
    torch.testing.assert_close(loss.per_dim, torch.stack([truncate(x, m)[:, 0].sum() for m in NESTING]))


def test_weights_of_a_call_and_unreduced_losses() -> None:
    x, c = torch.randn(5, 8), torch.tensor([0.0, 1.0, 3.0], requires_grad=True)
    loss = nest(lambda a: a.square().sum(1), NESTING)(x, weights=c)
    rows = torch.stack([x[:, :m].square().sum(1) for m in NESTING])
    torch.testing.assert_close(loss.per_dim, rows)
    torch.testing.assert_close(loss.total, rows[1] + 3 * rows[2])
    torch.testing.assert_close(torch.autograd.grad(loss.total.sum(), c)[0], rows.sum(1))


def test_no_embedding_among_the_arguments_is_an_error() -> None:
    with pytest.raises(ShapeError, match="floating tensors 8 wide"):
        nest(lambda a: a.sum(), NESTING)(torch.randn(3, 7))
