"""The losses against stupid double loops in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nestling.adaptor.objectives import SPREAD, NeighbourRotation, PairRotation, ResidualObjective, cosines, twins
from nestling.nesting import Nesting

NESTING = Nesting((2, 3, 6), (1.0, 0.5, 2.0))
SHORT = Nesting((2, 3), (1.0, 0.5))


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(x: torch.Tensor, y: torch.Tensor, m: int) -> float:
    x, y = x[:m].double(), y[:m].double()
    return float(x @ y / (x.norm() * y.norm()))


def turned(objective: NeighbourRotation | PairRotation) -> torch.Tensor:
    with torch.no_grad():
        small = objective.turn()
        objective.turn.skew.copy_(0.4 * drawn(len(small), len(small), seed=5))
        return torch.block_diag(objective.turn(), torch.eye(6 - len(small)))


def test_cosines_of_all_prefixes() -> None:
    x, y = drawn(4, 6), drawn(5, 6, seed=1)
    for m, found in zip(NESTING, cosines(x, y, NESTING), strict=True):
        for i in range(4):
            for j in range(5):
                assert found[i, j] == pytest.approx(cosine(x[i], y[j], m), abs=1e-5)


@pytest.mark.parametrize("first", [4, 6])
def test_the_divergence_of_neighbours(first: int) -> None:
    everything = drawn(30, 6, seed=7)  # the batch is not like the rows that it is of
    objective = NeighbourRotation(SHORT, 5 * everything.T @ everything, 0.3, first)
    turn = turned(objective)
    with torch.no_grad():
        objective.scales.copy_(torch.tensor([1.0, 0.5]))
    anchors, near = drawn(3, 6), drawn(3, 2, 6, seed=1)
    loss = objective(anchors, near)
    rows = [*anchors, *near.reshape(-1, 6)]
    for k, m in enumerate(SHORT):
        total = 0.0
        for i in range(3):
            others = [j for j in range(9) if j != i]
            p = np.exp([cosine(rows[i], rows[j], 6) / 0.3 for j in others])
            scale = math.exp(objective.scales[k].item())
            q = np.exp([cosine(turn @ rows[i], turn @ rows[j], m) * scale for j in others])
            p, q = p / p.sum(), q / q.sum()
            total += float((p * np.log(p / q)).sum()) / 3
        lengths = [(float((turn @ r)[:m].square().sum()), float(r.square().sum())) for r in everything]
        total += SPREAD * (1 - sum(kept for kept, _ in lengths) / sum(whole for _, whole in lengths))
        assert loss.per_dim[k] == pytest.approx(total, abs=1e-5)
    assert loss.total.item() == pytest.approx(float(loss.per_dim[0] + 0.5 * loss.per_dim[1]), abs=1e-5)


def test_pairs_are_held_against_all_but_their_twins() -> None:
    objective = PairRotation(SHORT, 6, 0.3)
    turn = turned(objective)
    a, b = drawn(4, 6), drawn(4, 6, seed=1)
    b[2] = b[0]
    loss = objective(a, b)
    for k, m in enumerate(SHORT):
        s = [[cosine(turn @ x, turn @ y, m) / 0.3 for y in b] for x in a]
        total = 0.0
        for i in range(4):
            rivals = [j for j in range(4) if j == i or {i, j} != {0, 2}]
            total -= s[i][i] - math.log(sum(math.exp(s[i][j]) for j in rivals))
            total -= s[i][i] - math.log(sum(math.exp(s[j][i]) for j in rivals))
        assert loss.per_dim[k] == pytest.approx(total / 8, abs=1e-5)


def test_twins_are_equal_rows() -> None:
    x = drawn(5, 6)
    assert twins(x) is None
    x[3] = x[1]
    found = twins(x)
    assert found is not None
    assert [int((found == g).sum()) for g in found] == [1, 2, 1, 2, 1]


@pytest.mark.parametrize("kind", ["neighbours", "labels", "pairs"])
def test_the_residual_loss(kind: str) -> None:
    start = torch.linalg.qr(drawn(6, 6, seed=3))[0]
    objective = ResidualObjective(
        NESTING,
        start,
        kind,
        hidden=4,
        separate=kind == "pairs",
        temperature=0.3,
        shares=(0.7, 0.2, 0.4),
        generator=torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        for i, parameter in enumerate(objective.parameters()):
            parameter.add_(0.3 * drawn(*parameter.shape, seed=10 + i))
    a, labels = drawn(18, 6), torch.arange(18) % 4
    second = {"neighbours": drawn(18, 2, 6, seed=1), "labels": labels, "pairs": drawn(18, 6, seed=1)}[kind]
    loss = objective(a, second)
    b = a if kind == "labels" else second.reshape(-1, 6)
    with torch.no_grad():
        x, y = objective.maps[0](a), objective.maps[-1](b)
    wished = [[cosine(u, v, 6) for v in b] for u in a]
    for k, m in enumerate(NESTING):
        off = [[abs(wished[i][j] - cosine(x[i], y[j], m)) for j in range(len(b))] for i in range(18)]
        near = []
        for i in range(18):
            if kind == "neighbours":
                near += [off[i][2 * i], off[i][2 * i + 1]]
            else:
                near += [off[i][j] for j in sorted(range(18), key=lambda j: -wished[i][j])[:16]]
        own = sum(
            float(
                np.mean(
                    [float(((v[:m] - (u @ start)[:m]) ** 2).sum() / (u**2).sum()) for u, v in zip(p, q, strict=True)]
                )
            )
            for p, q in ((a, x), (b, y))
        )
        total = 0.7 * float(np.mean(near)) + 0.2 * float(np.mean(off)) + 0.4 * own
        if kind == "labels":
            ranks = []
            for i in range(18):
                log = {j: cosine(x[i], y[j], m) / 0.3 for j in range(18) if j != i}
                below = math.log(sum(map(math.exp, log.values())))
                ranks.append(np.mean([below - log[j] for j in log if labels[j] == labels[i]]))
            total += float(np.mean(ranks))
        if kind == "pairs":
            s = torch.tensor([[cosine(u, v, m) / 0.3 for v in y] for u in x])
            match = torch.arange(18)
            total += float(F.cross_entropy(s, match) + F.cross_entropy(s.T, match)) / 2
        assert loss.per_dim[k] == pytest.approx(total, abs=1e-4)
    assert loss.total.item() == pytest.approx(float((loss.per_dim * torch.tensor(NESTING.weights)).sum()), abs=1e-4)
    assert all(p.grad is None for p in objective.parameters())
    loss.total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.parameters())


def test_a_residual_map_begins_as_the_rotation() -> None:
    start = torch.linalg.qr(drawn(6, 6, seed=3))[0]
    objective = ResidualObjective(
        NESTING,
        start,
        "pairs",
        hidden=4,
        separate=False,
        temperature=0.3,
        shares=(1.0, 1.0, 1.0),
        generator=torch.Generator().manual_seed(0),
    )
    a = drawn(7, 6)
    torch.testing.assert_close(objective.maps[0](a), a @ start)
