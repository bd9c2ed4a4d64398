"""Learning the maps: which objective, by the one training loop, ended early by what was held out. Needs torch."""

from __future__ import annotations

import copy

import numpy as np
import torch
from jaxtyping import Float

from nestling.adaptor.batches import Feeds, feeds, mean_length
from nestling.adaptor.maps import Map, Residual, Rotation
from nestling.adaptor.objectives import NeighbourRotation, PairRotation, ResidualMap, ResidualObjective
from nestling.adaptor.settings import Material, Phases, Settings, Told, rotation_rate
from nestling.models import NestedLinear
from nestling.nesting import Nesting
from nestling.training import Objective, TrainConfig, fit
from nestling.training.feed import Share
from nestling.training.rotation import RotationObjective

_LOOKS = 20  # at the held-out batch
SHARES = (0.1, 0.05, 0.01)  # of near similarities, of all, of where the map began; a ranking loss counts one
_TURNED, _TURNED_SHARE = 32, 6  # without labels or pairs: numbers at least, or this part of the width
_PASSES = 40  # over few rows, at most


def learnt(
    material: Material,
    start: Float[np.ndarray, "d d"],
    gram: Float[np.ndarray, "d d"],
    settings: Settings,
    phases: Phases,
) -> tuple[tuple[Map, ...], int]:
    """The maps, one for both sides or one for each, and the steps that were done.

    A residual map begins from the rotation that was learnt first: begun from the PCA it reached less (docs/LOG.md).

    Args:
        material: what is learnt from.
        start: an orthogonal map (d, d) to begin with, applied as x · start.
        gram: Σ x xᵀ over all rows of all sides.
        settings: how.
        phases: hear of the neighbours and of the steps.

    Raises:
        TrainingDivergedError: the loss became NaN or infinite.
    """
    turns, bends = settings.nesting.dims[0] < len(start), settings.kind == "residual"
    given = feeds(material, settings, phases) if turns or bends else None
    steps = 0
    if given is not None and turns:
        rotation, steps = _rotation(given, material, start, gram, settings, phases)
        start = start.copy()
        start[:, : len(rotation)] @= rotation.T
    if given is None or not bends:
        return (Rotation(start.astype(np.float32)),), steps
    maps, more = _residual(given, material, start, settings, phases.next())
    return maps, steps + more


def _rotation(
    given: Feeds,
    material: Material,
    start: Float[np.ndarray, "d d"],
    gram: Float[np.ndarray, "d d"],
    settings: Settings,
    phases: Phases,
) -> tuple[Float[np.ndarray, "t t"], int]:
    """R in float64, behind the start; rows turn as x · Rᵀ, by their first numbers if R is smaller."""
    width = len(start)
    short = Nesting(tuple(m for m in settings.nesting if m < width))
    rate = settings.rate if settings.kind == "rotation" else rotation_rate(material.kind)
    length = mean_length(material.x)
    if material.kind == "labels":  # numbers of about one, as a head likes them
        return _by_heads(given.turned(start, length / np.sqrt(width)), material, short, settings, rate, phases)
    told = phases.next()
    if material.kind == "pairs":
        objective = PairRotation(short, width, settings.temperature)
    else:
        turned = min(width, max(_TURNED, width // _TURNED_SHARE))
        dims = tuple(m for m in short if m < turned)
        if not dims:
            return np.eye(1), 0
        spread = torch.from_numpy((start.T @ gram @ start).astype(np.float32))
        objective = NeighbourRotation(Nesting(dims), spread, settings.temperature, turned)
    steps = _trained(objective, given.turned(start, length), settings, rate, told)
    return objective.turn.double()().detach().numpy(), steps


def _by_heads(
    given: Feeds, material: Material, short: Nesting, settings: Settings, rate: float, phases: Phases
) -> tuple[Float[np.ndarray, "d d"], int]:
    """The finishing of a trained model, with a head that is fitted first."""
    assert material.labels is not None
    width, classes = material.x.shape[1], int(material.labels.max()) + 1
    generator = torch.Generator().manual_seed(settings.seed)
    widest = RotationObjective(NestedLinear(Nesting((width,)), classes, generator=generator), width)
    _trained(widest, given, settings, rate, phases.next())
    assert widest.heads is not None
    head = NestedLinear(Nesting((*short, width)), classes)
    with torch.no_grad():
        for own, m in zip(head.weights, head.nesting, strict=True):
            own.copy_(widest.heads.weights[0][:, :m])
        for own in head.biases:
            own.copy_(widest.heads.biases[0])
    objective = RotationObjective(head, width)
    steps = _trained(objective, given, settings, rate, phases.next())
    return objective.double().rotation().detach().numpy(), steps


def _residual(
    given: Feeds, material: Material, start: Float[np.ndarray, "d d"], settings: Settings, told: Told
) -> tuple[tuple[Map, ...], int]:
    length = mean_length(material.x)
    objective = ResidualObjective(
        settings.nesting,
        torch.from_numpy(start.astype(np.float32)),
        material.kind,
        hidden=settings.hidden,
        separate=settings.separate,
        temperature=settings.temperature,
        shares=SHARES,
        generator=torch.Generator().manual_seed(settings.seed),
    )
    steps = _trained(objective, given.turned(None, length), settings, settings.rate, told)
    return tuple(_plain(found, length) for found in objective.maps), steps


def _plain(found: torch.nn.Module, scale: float) -> Map:
    """What was learnt on vectors of mean length one, for vectors as they are."""
    assert isinstance(found, ResidualMap)
    m, a, a_bias, b, b_bias = (p.detach().cpu().numpy() for p in found.parameters())
    return Residual(
        m, (a / scale).astype(np.float32), a_bias, (b * scale).astype(np.float32), (b_bias * scale).astype(np.float32)
    )


def _trained(objective: Objective, given: Feeds, settings: Settings, rate: float, told: Told) -> int:
    """Train in place and leave the weights that were best on the held-out batch; the steps done."""
    feed, held = given.learnt(), given.held()
    size = min(settings.batch_size, len(feed))
    passes = _PASSES * max(1, len(feed) // size)
    total = min(settings.steps, passes)
    config = TrainConfig(
        steps=total,
        batch_size=size,
        lr=rate,
        schedule="cosine",
        weight_decay=0.0,
        label_smoothing=0.0,
        head_lr=5.0 if isinstance(objective, RotationObjective) and objective.rotates else 1.0,
        augment=False,
        seed=settings.seed,
        checkpoint_every=total,
        log_every=total,
    )
    judge = None if held is None else _Judge(objective, held, max(1, total // _LOOKS), settings.patience)

    def progress(done: int, total: int, loss: float, rows: float, lr: float, left: float) -> None:
        del rows, lr, left
        told(done, total, f"loss {loss:.4f}")

    done = fit(objective, feed, config, progress=progress, stop=judge).step
    objective.to("cpu")
    if judge is not None:
        judge.restore()
    return done


class _Judge:
    """Looks at a held-out batch now and then; ends a run that has not become better for some looks."""

    def __init__(self, objective: Objective, held: Share, every: int, patience: int) -> None:
        self.objective, self.held, self.every, self.patience = objective, held, every, patience
        self.best, self.state, self.worse = self._loss(), copy.deepcopy(objective.state_dict()), 0

    def __call__(self, step: int) -> bool:
        """Whether to end."""
        if step % self.every:
            return False
        loss = self._loss()
        if loss < self.best:
            self.best, self.state, self.worse = loss, copy.deepcopy(self.objective.state_dict()), 0
        else:
            self.worse += 1
        return self.worse >= self.patience

    @torch.no_grad()
    def _loss(self) -> float:
        device = next(self.objective.parameters()).device
        return float(self.objective(*(each.to(device) for each in self.held), None).total)

    def restore(self) -> None:
        """The weights of the best look."""
        self.objective.load_state_dict(self.state)
