"""The learnt rotation by itself; what `finish` does with it is tested beside it."""

from __future__ import annotations

import pytest
import torch

from nestling.training.rotation import Rotation


def test_it_begins_as_the_identity_and_is_orthogonal_whatever_its_parameters() -> None:
    turn = Rotation(5)
    assert torch.equal(turn(), torch.eye(5))
    with torch.no_grad():
        turn.skew.normal_(std=3, generator=torch.Generator().manual_seed(0))
    found = turn.double()()
    torch.testing.assert_close(found @ found.T, torch.eye(5, dtype=torch.float64))
    assert (found - torch.eye(5)).abs().max() > 0.1


def test_its_gradient_is_the_differences() -> None:
    eps = 1e-6
    turn = Rotation(4).double()
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)
    ((x @ turn().T)[:, :2] * y[:, :2]).sum().backward()
    assert turn.skew.grad is not None
    found = turn.skew.grad[0, 3].item()
    with torch.no_grad():
        before = ((x @ turn().T)[:, :2] * y[:, :2]).sum()
        turn.skew[0, 3] += eps
        after = ((x @ turn().T)[:, :2] * y[:, :2]).sum()
    assert found == pytest.approx((after - before).item() / eps, rel=1e-4)


def test_one_that_is_not_learnt_takes_no_gradient() -> None:
    assert not Rotation(3, learnt=False).skew.requires_grad
