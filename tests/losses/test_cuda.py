"""On a GPU, where there is one, the fused losses give what they give on the CPU."""

from __future__ import annotations

import pytest
import torch

from tests.losses.cases import CASES, Case, labels
from tests.losses.test_fused import NESTING, gradients

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_gpu_equals_cpu(case: Case) -> None:
    y = labels(17)
    here = case.make(NESTING, 17)
    there = [leaf.detach().cuda().requires_grad_() for leaf in here]
    ours, theirs = case.fused(here, y, NESTING), case.fused(there, y.cuda(), NESTING)
    torch.testing.assert_close(theirs.per_dim.cpu(), ours.per_dim)
    found = [g.cpu() for g in gradients(theirs.total, there)]
    torch.testing.assert_close(found, gradients(ours.total, here), atol=1e-11, rtol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_autocast_on_the_gpu_stays_near(case: Case) -> None:
    y = labels(17).cuda()
    leaves = [leaf.detach().cuda().requires_grad_() for leaf in case.make(NESTING, 17, dtype=torch.float32)]
    exact = case.fused(leaves, y, NESTING)
    with torch.autocast("cuda", torch.bfloat16):
        near = case.fused(leaves, y, NESTING)
    torch.testing.assert_close(near.per_dim, exact.per_dim, rtol=0.05, atol=0.05)
    assert all(torch.isfinite(g).all() for g in gradients(near.total, leaves))
