from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from nestling.errors import InputError, NestingError, ShapeError
from nestling.models import NestedLinear
from nestling.nesting import Nesting

NESTING = Nesting((2, 5, 16))


def _head(*, tied: bool, bias: bool = True, nesting: Nesting = NESTING, classes: int = 7) -> NestedLinear:
    return NestedLinear(nesting, classes, tied=tied, bias=bias, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_the_logits_are_those_of_a_plain_linear_layer_on_each_slice(tied: bool, bias: bool) -> None:
    head, x = _head(tied=tied, bias=bias), torch.randn(9, 16, generator=torch.Generator().manual_seed(0))
    for z, m in zip(head(x), NESTING, strict=True):
        expected = F.linear(x[:, :m], head.weight_at(m), head.bias_at(m))
        torch.testing.assert_close(z, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(head.logits(x, m), expected, rtol=0, atol=0)
        torch.testing.assert_close(head.logits(x[:, :m], m), expected, rtol=0, atol=0)


@given(
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    classes=st.integers(1, 6),
    batch=st.integers(1, 5),
)
def test_tied_running_sums_match_float64_slices(steps: list[int], classes: int, batch: int) -> None:
    nesting = Nesting(tuple(sum(steps[: i + 1]) for i in range(len(steps))))
    head = _head(tied=True, nesting=nesting, classes=classes)
    x = torch.randn(batch, nesting.width, generator=torch.Generator().manual_seed(1))
    for z, m in zip(head(x), nesting, strict=True):
        exact = x[:, :m].double() @ head.weights[0][:, :m].double().T + head.biases[0].double()
        torch.testing.assert_close(z.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_the_loss_is_the_weighted_sum_of_plain_cross_entropies(tied: bool) -> None:
    head, x = _head(tied=tied), torch.randn(9, 16, generator=torch.Generator().manual_seed(0))
    labels, c = torch.arange(9) % 7, torch.tensor([1.0, 0.5, 2.0])
    loss = head.loss(x, labels, weights=c, label_smoothing=0.1)
    parts = [F.cross_entropy(z, labels, label_smoothing=0.1) for z in head(x)]
    torch.testing.assert_close(loss.per_dim, torch.stack(parts).detach())
    torch.testing.assert_close(loss.total, sum(ci * p for ci, p in zip(c, parts, strict=True)))
    loss.total.backward()
    assert all(p.grad is not None for p in head.parameters())


def test_first_weights_are_those_of_a_linear_layer_of_each_width() -> None:
    head = _head(tied=False, classes=500)
    for weight, bias, m in zip(head.weights, head.biases, NESTING, strict=True):
        bound = 1 / math.sqrt(m)
        for tensor in (weight, bias):
            assert 0.95 * bound < tensor.abs().max() <= bound
            assert tensor.mean().abs() < 0.1 * bound


def test_the_generator_alone_decides_the_first_weights() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, two = _head(tied=False), _head(tied=False)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_tied_has_one_weight_and_untied_one_per_dim() -> None:
    assert [tuple(p.shape) for p in _head(tied=True).parameters()] == [(7, 16), (7,)]
    assert [tuple(w.shape) for w in _head(tied=False).weights] == [(7, 2), (7, 5), (7, 16)]
    assert _head(tied=False, bias=False).bias_at(2) is None


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("shape", [(4, 15), (4, 17), (16,), (2, 4, 16)])
def test_features_of_another_shape_get_our_sentence(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="features must be"):
        _head(tied=True)(torch.zeros(shape))


def test_wrong_dims_and_classes_are_refused() -> None:
    with pytest.raises(NestingError, match="one of 2,5,16"):
        _head(tied=True).weight_at(3)
    with pytest.raises(ShapeError, match="between 1 and"):
        _head(tied=True).logits(torch.zeros(1, 4), 5)
    with pytest.raises(InputError, match="classes must be"):
        NestedLinear(NESTING, 0)
