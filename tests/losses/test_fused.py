"""The fused losses equal the naive per-prefix loop: values and every gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from nestling.errors import InputError, ShapeError
from nestling.losses import chunks, contrastive, mrl_cross_entropy, mrl_e_cross_entropy
from nestling.nesting import Nesting
from tests.losses import naive
from tests.losses.cases import CASES, CLASSES, Case, labels

NESTING = Nesting((3, 4, 8, 24), (2.0, 1.0, 0.0, 0.5))
each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def gradients(total: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(total, leaves))


def assert_equal_to_loop(case: Case, leaves: list[Tensor], y: Tensor, nesting: Nesting, **how: Any) -> None:
    fused = case.fused(leaves, y, nesting, **how)
    parts = case.loop(leaves, y, nesting, **how)
    total = torch.dot(torch.tensor(nesting.weights, dtype=torch.float64), parts)
    torch.testing.assert_close(fused.per_dim, parts.detach())
    torch.testing.assert_close(fused.total, total)
    torch.testing.assert_close(gradients(fused.total, leaves), gradients(total, leaves), atol=1e-11, rtol=1e-9)


@pytest.fixture(params=["one chunk", "many chunks"])
def chunking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "many chunks":
        monkeypatch.setattr(chunks, "CACHED_BYTES", 1)
        monkeypatch.setattr(chunks, "EFFICIENT_ROWS", 3)


@each_case
def test_values_and_gradients_equal_the_loop_in_float64(case: Case, chunking: None) -> None:
    assert_equal_to_loop(case, case.make(NESTING, 17), labels(17), NESTING)


@pytest.mark.parametrize("dims", [(1, 2, 64, 128), (1, 2, 3, 4, 256), (1, 128), (2, 128, 130)])
@each_case
def test_prefixes_much_shorter_than_the_width(case: Case, dims: tuple[int, ...], chunking: None) -> None:
    """Their logits are not kept but multiplied again."""
    nesting = Nesting(dims)
    assert_equal_to_loop(case, case.make(nesting, 11), labels(11), nesting)


@pytest.mark.parametrize("case", CASES[:2], ids=lambda c: c.name)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3, (0.0, 0.4, 0.1, 0.0), (0.2, 0.0, 0.0, 1.0)])
def test_options_of_cross_entropy_equal_the_loop(
    case: Case, reduction: str, smoothing: float | tuple[float, ...], chunking: None
) -> None:
    y = labels(17)
    y[[2, 5, 16]] = -7
    how = {"label_smoothing": smoothing, "ignore_index": -7, "reduction": reduction}
    assert_equal_to_loop(case, case.make(NESTING, 17), y, NESTING, **how)


@pytest.mark.parametrize("case", CASES[:2], ids=lambda c: c.name)
def test_unreduced_losses_stand_per_row(case: Case) -> None:
    leaves, y = case.make(NESTING, 6), labels(6)
    fused = case.fused(leaves, y, NESTING, reduction="none")
    loop = case.loop(leaves, y, NESTING, reduction="none")
    weighted = (torch.tensor(NESTING.weights, dtype=torch.float64)[:, None] * loop).sum(0)
    torch.testing.assert_close(fused.per_dim, loop.detach())
    torch.testing.assert_close(fused.total, weighted)
    torch.testing.assert_close(gradients(fused.total.sum(), leaves), gradients(weighted.sum(), leaves))


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.0249, 0.01])
def test_infonce_with_hard_negatives_at_every_temperature(temperature: float, chunking: None) -> None:
    case = CASES[2]
    leaves = case.make(NESTING, 20)
    with torch.no_grad():
        leaves[1][1:] = leaves[1][:1] + 1e-3 * leaves[1][1:]  # all texts nearly one: every negative is hard
        leaves[2].fill_(temperature)
    assert_equal_to_loop(case, leaves, labels(20), NESTING)


@pytest.mark.parametrize("temperature", [0.5, 0.07, 0.01])
@pytest.mark.parametrize("of", [1, 3, 17])
def test_rows_of_one_group_are_not_held_against_each_other(temperature: float, of: int, chunking: None) -> None:
    case, groups = CASES[2], torch.arange(17) % of
    leaves = case.make(NESTING, 17)
    with torch.no_grad():
        leaves[2].fill_(temperature)
    assert_equal_to_loop(case, leaves, labels(17), NESTING, groups=groups)
    slow = case.fused(leaves, labels(17), NESTING, groups=groups, differentiable_parts=True)
    torch.testing.assert_close(slow.per_dim, case.fused(leaves, labels(17), NESTING, groups=groups).per_dim)
    if of == 1:
        assert slow.per_dim.abs().max() < 1e-12  # nothing is left to be told apart


def test_infonce_at_a_sharp_temperature_in_float32_stays_finite_and_right() -> None:
    case = CASES[2]
    leaves = case.make(NESTING, 32, dtype=torch.float32)
    with torch.no_grad():
        leaves[2].fill_(0.01)
    fused = case.fused(leaves, labels(32), NESTING)
    wide = [leaf.detach().double() for leaf in leaves]
    torch.testing.assert_close(fused.per_dim.double(), naive.infonce(*wide[:2], NESTING, wide[2]), rtol=2e-5, atol=1e-5)
    assert all(torch.isfinite(g).all() for g in gradients(fused.total, leaves))


def test_a_prefix_of_zeros_has_similarity_zero_and_no_gradient() -> None:
    x = torch.randn(5, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[2, :4] = 0
    x.requires_grad_()
    loss = contrastive(x, x.detach().roll(1, 1), NESTING, 0.1)
    (to_x,) = gradients(loss.total, [x])
    assert torch.isfinite(loss.per_dim).all()
    assert torch.isfinite(to_x).all()


def test_no_bias_and_a_number_for_temperature() -> None:
    x, head = torch.randn(4, 24), torch.randn(5, 24)
    y = torch.tensor([0, 1, 4, 2])
    tied = mrl_e_cross_entropy(x, y, NESTING, head)
    torch.testing.assert_close(tied.per_dim, naive.mrl_e(x, y, NESTING, head, None))
    heads = [head[:, :m] for m in NESTING]
    torch.testing.assert_close(mrl_cross_entropy(x, y, NESTING, heads).per_dim, naive.mrl(x, y, NESTING, heads, None))
    plain = naive.infonce(x, x.flip(0), NESTING, torch.tensor(0.2))
    torch.testing.assert_close(contrastive(x, x.flip(0), NESTING, 0.2).per_dim, plain)


@each_case
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
def test_error_is_the_loops_own_but_for_chance(case: Case, autocast: bool) -> None:
    """Against float64. Of the gradients it was below the loop's on one processor and up to 1.3 times it on another: how
    the library adds decides, and logits that all prefixes share round alike (docs/LOG.md)."""
    nesting, rows = Nesting.halving(256), 128
    ours, theirs = torch.zeros(2), torch.zeros(2)
    for seed in range(6):
        leaves, y = case.make(nesting, rows, dtype=torch.float32, seed=seed), labels(rows, seed=seed)
        with torch.no_grad():  # heads as trained ones are: logits of a few units
            for leaf in leaves[1:]:
                leaf.mul_(1.0 if leaf.ndim == 0 else leaf.shape[-1] ** -0.5)
        exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
        truth = case.loop(exact, y, nesting)
        wanted = [truth.detach(), *gradients(truth.sum(), exact)]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            fused = case.fused(leaves, y, nesting)
            loop = case.loop(leaves, y, nesting).float()
        ours += _errors([fused.per_dim, *gradients(fused.total, leaves)], wanted)
        theirs += _errors([loop.detach(), *gradients(loop.sum(), leaves)], wanted)
    assert ours[0] <= theirs[0] * 1.25, (case.name, ours, theirs)
    assert ours[1] <= theirs[1] * 1.5, (case.name, ours, theirs)


def _errors(got: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Relative errors (of the values, of all gradients)."""
    relative = [float((g.double() - w).norm() / w.norm().clamp_min(1e-30)) for g, w in zip(got, wanted, strict=True)]
    return torch.tensor([relative[0], sum(relative[1:])])


@each_case
def test_gradcheck(case: Case) -> None:
    nesting, y = Nesting((2, 4)), labels(4)
    leaves = case.make(nesting, 4)
    assert torch.autograd.gradcheck(lambda *ls: case.fused(list(ls), y, nesting).total, leaves)


@each_case
def test_weights_of_a_call_replace_the_nestings_and_get_their_gradient(case: Case) -> None:
    leaves, y = case.make(NESTING, 9), labels(9)
    c = torch.tensor([0.3, 0.0, 2.0, 1.0], dtype=torch.float64, requires_grad=True)
    fused = case.fused(leaves, y, NESTING, weights=c)
    loop = torch.dot(c, case.loop(leaves, y, NESTING))
    torch.testing.assert_close(
        gradients(fused.total, [c, *leaves]), gradients(loop, [c, *leaves]), atol=1e-11, rtol=1e-9
    )


@each_case
def test_parts_are_detached_and_unweighted_unless_asked_for(case: Case) -> None:
    leaves, y = case.make(NESTING, 9), labels(9)
    assert not case.fused(leaves, y, NESTING).per_dim.requires_grad
    parts = case.fused(leaves, y, NESTING, differentiable_parts=True)
    loop = case.loop(leaves, y, NESTING)
    torch.testing.assert_close(parts.per_dim, loop)
    torch.testing.assert_close(gradients(parts.per_dim.square().sum(), leaves), gradients(loop.square().sum(), leaves))


@each_case
def test_backward_twice_and_with_a_scale(case: Case) -> None:
    leaves, y = case.make(NESTING, 9), labels(9)
    total = case.fused(leaves, y, NESTING).total
    once = torch.autograd.grad(total * 3, leaves, retain_graph=True)
    again = torch.autograd.grad(total, leaves)
    torch.testing.assert_close(list(once), [3 * g for g in again])


@each_case
def test_without_gradients_only_values_are_computed(case: Case) -> None:
    leaves, y = case.make(NESTING, 9), labels(9)
    with torch.no_grad():
        loss = case.fused(leaves, y, NESTING)
    assert not loss.total.requires_grad
    torch.testing.assert_close(loss.per_dim, case.loop(leaves, y, NESTING).detach())
    frozen = [leaves[0].detach(), *leaves[1:]]
    (to_head,) = gradients(case.fused(frozen, y, NESTING).total, leaves[1:2])
    torch.testing.assert_close(to_head, gradients(case.fused(leaves, y, NESTING).total, leaves)[1])


@pytest.mark.usefixtures("as_a_user")  # the shape checker itself cannot be compiled
@each_case
def test_a_compiled_caller_gets_the_same(case: Case) -> None:
    leaves, y = case.make(NESTING, 9, dtype=torch.float32), labels(9)

    def caller(*ls: Tensor) -> Tensor:
        return case.fused([t * 2 for t in ls], y, NESTING).total * 0.5

    compiled = torch.compile(caller, backend="aot_eager")
    torch.testing.assert_close(gradients(compiled(*leaves), leaves), gradients(caller(*leaves), leaves))


@each_case
@given(width=st.integers(1, 12), seed=st.integers(0, 99))
def test_a_nesting_of_one_dim_is_the_plain_loss(case: Case, width: int, seed: int) -> None:
    nesting = Nesting((width,))
    leaves, y = case.make(nesting, 7, seed=seed), labels(7, seed=seed)
    fused = case.fused(leaves, y, nesting)
    torch.testing.assert_close(fused.total, case.loop(leaves, y, nesting)[0])


@each_case
@given(a=st.lists(st.floats(0, 4), min_size=4, max_size=4), b=st.lists(st.floats(0, 4), min_size=4, max_size=4))
def test_a_loss_is_linear_in_its_weights(case: Case, a: list[float], b: list[float]) -> None:
    leaves, y = case.make(NESTING, 5), labels(5)
    ca, cb = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    totals = [case.fused(leaves, y, NESTING, weights=c).total for c in (ca, cb, ca + 2 * cb)]
    torch.testing.assert_close(totals[0] + 2 * totals[1], totals[2])


def test_half_precision_leaves_keep_their_dtype() -> None:
    x, head = (
        torch.randn(6, 24, dtype=torch.bfloat16, requires_grad=True),
        torch.randn(5, 24, dtype=torch.bfloat16),
    )
    loss = mrl_e_cross_entropy(x, torch.tensor([0, 1, 2, 3, 4, 0]), NESTING, head.requires_grad_())
    to_x, to_head = gradients(loss.total, [x, head])
    assert to_x.dtype == to_head.dtype == torch.bfloat16
    assert loss.total.dtype == torch.float32


def test_a_wrong_shape_is_rejected_by_the_shape_checker() -> None:
    with pytest.raises(TypeCheckError):
        mrl_e_cross_entropy(torch.randn(4, 24), torch.tensor([0.5, 0.1]), NESTING, torch.randn(5, 24))


@pytest.mark.usefixtures("as_a_user")
def test_wrong_input_gets_one_sentence() -> None:
    x, y, head = torch.randn(4, 24), torch.tensor([0, 1, 2, 3]), torch.randn(CLASSES, 24)
    with pytest.raises(ShapeError, match="features must be 24 wide"):
        mrl_e_cross_entropy(x[:, :5], y, NESTING, head)
    with pytest.raises(ShapeError, match="labels must be one per row"):
        mrl_e_cross_entropy(x, y[:3], NESTING, head)
    with pytest.raises(InputError, match=r"labels must be classes 0 … 10; got 0 … 11"):
        mrl_e_cross_entropy(x, torch.tensor([0, 1, 2, 11]), NESTING, head)
    with pytest.raises(InputError, match="reduction must be"):
        mrl_e_cross_entropy(x, y, NESTING, head, reduction="median")
    with pytest.raises(InputError, match="label_smoothing must be between 0 and 1"):
        mrl_e_cross_entropy(x, y, NESTING, head, label_smoothing=1.5)
    with pytest.raises(InputError, match="label_smoothing must be between 0 and 1"):
        mrl_e_cross_entropy(x, y, NESTING, head, label_smoothing=(0.1, 0.1, 0.1, -0.1))
    with pytest.raises(ShapeError, match=r"label_smoothing must be one number, or one per dim \(4\); got 3"):
        mrl_e_cross_entropy(x, y, NESTING, head, label_smoothing=(0.1, 0.1, 0.1))
    with pytest.raises(ShapeError, match=r"weights must be one per dim, shape \(4,\)"):
        mrl_e_cross_entropy(x, y, NESTING, head, weights=torch.ones(3))
    with pytest.raises(ShapeError, match=r"head_weights must be one per dim \(4\); got 2"):
        mrl_cross_entropy(x, y, NESTING, [head[:, :3], head[:, :4]])
    with pytest.raises(ShapeError, match="head_weights must be 3 wide at prefix 3"):
        mrl_cross_entropy(x, y, NESTING, [head] * 4)
    with pytest.raises(ShapeError, match="texts must be as many rows as images"):
        contrastive(x, x[:2], NESTING, 0.1)
    with pytest.raises(InputError, match="temperature must be positive"):
        contrastive(x, x, NESTING, 0.0)


def test_extreme_logits_stay_exact() -> None:
    x = torch.tensor([[1e4, -1e4, 3e4]], requires_grad=True)
    head = torch.eye(3, requires_grad=True)
    nesting, y = Nesting((1, 3)), torch.tensor([1])
    loss = mrl_e_cross_entropy(x, y, nesting, head)
    torch.testing.assert_close(loss.per_dim, naive.mrl_e(x, y, nesting, head, None).detach())
    torch.testing.assert_close(
        gradients(loss.total, [x, head]), gradients(naive.mrl_e(x, y, nesting, head, None).sum(), [x, head])
    )


def test_an_empty_batch_equals_torch() -> None:
    x = torch.randn(0, 24)
    y = torch.zeros(0, dtype=torch.int64)
    ours = mrl_e_cross_entropy(x, y, NESTING, torch.randn(3, 24), reduction="sum")
    assert float(ours.total) == float(F.cross_entropy(torch.randn(0, 3), y, reduction="sum"))
