"""Finishing: an orthogonal map behind a trained encoder, learnt on frozen features, that serves the short prefixes.

R = (I + A)⁻¹ (I − A) with A skew-symmetric (Cayley) is orthogonal, so all cosines and inner products at full width stay
what they were, and the full-width head W · Rᵀ gives the same logits. The other heads are refitted along: they learn
what the widest head answers (distillation, Hinton et al. 2015), because labels alone over-fit them on features that
never change; only the shortest, which is under-fitted, learns from the labels as much.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from nestling.errors import InputError, ShapeError
from nestling.losses import NestedLoss
from nestling.models import Classifier, NestedLinear
from nestling.nesting import Nesting, prefix
from nestling.training.config import TrainConfig
from nestling.training.feed import ArrayFeed
from nestling.training.fit import Progress, fit
from nestling.training.objective import Objective

_RATE, _SHORTEST_RATE = 1e-2, 5.0  # this and what follows: chosen on validation (docs/LOG.md)
_LABELS = 0.5  # what the labels count in the loss of the shortest prefix; the rest is the widest head's


class RotationObjective(Objective):
    """The nested cross-entropy of the heads on R · x, against the widest head's answers and the labels.

    A head as wide as the features follows from R and has no loss. Without any other head there is nothing to rotate:
    then that one is refitted. The widest of the heads that are learnt has labels alone if no wider one answers.

    Args:
        head: a trained one; it is copied.
        width: of the features, at least the head's.
    """

    widest: Tensor
    widest_bias: Tensor | None

    def __init__(self, head: NestedLinear, width: int) -> None:
        super().__init__()
        dims = head.nesting.dims
        self.rotates = dims != (width,)
        self.follows = width == dims[-1] and self.rotates
        short = dims[:-1] if self.follows else dims
        self.nesting = Nesting(short, _boosted(len(short)))
        self.skew = nn.Parameter(torch.zeros(width, width), requires_grad=self.rotates)
        bias = head.bias_at(dims[-1])
        self.register_buffer("widest", head.weight_at(dims[-1]).detach().clone(), persistent=False)
        self.register_buffer("widest_bias", None if bias is None else bias.detach().clone(), persistent=False)
        self.heads: NestedLinear | None = None  # a tied head as wide as the features follows from R at every prefix
        if not (head.tied and self.follows):
            self.heads = NestedLinear(self.nesting, head.classes, tied=head.tied, bias=bias is not None)
            with torch.no_grad():
                for own, theirs in zip(self.heads.parameters(), _first(head, len(self.heads.weights)), strict=True):
                    own.copy_(theirs)

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """The shortest head's, which is far from where it can be."""
        return () if self.heads is None else _first(self.heads, 1)

    def rotation(self) -> Float[Tensor, "d d"]:
        """R, in the precision of A."""
        skew = self.skew.triu(1)
        skew = skew - skew.T
        eye = torch.eye(len(skew), dtype=skew.dtype, device=skew.device)
        return torch.linalg.solve(eye + skew, eye - skew)

    def forward(
        self, inputs: Float[Tensor, "b d"], targets: Int[Tensor, " b"], weights: Float[Tensor, " k"] | None = None
    ) -> NestedLoss:
        """The loss of a batch of features and labels."""
        rotation = self.rotation()
        logits = self._logits(inputs @ rotation[: self.nesting.width].T, rotation)
        with torch.no_grad():
            wider = F.linear(prefix(inputs, self.widest.shape[1]), self.widest, self.widest_bias).softmax(dim=1)
        losses = [
            share * F.cross_entropy(z, targets) + (1 - share) * F.cross_entropy(z, wider)
            for z, share in zip(logits, self._shares(), strict=True)
        ]
        parts = torch.stack(losses)
        chosen = parts.new_tensor(self.nesting.weights) if weights is None else weights
        return NestedLoss((chosen * parts).sum(), parts.detach())

    def _logits(self, features: Tensor, rotation: Tensor) -> list[Tensor]:
        if self.heads is not None:
            return list(self.heads(features))
        weight = self.widest @ rotation.T
        return [F.linear(prefix(features, m), prefix(weight, m), self.widest_bias) for m in self.nesting]

    def _shares(self) -> list[float]:
        """What the labels count at each prefix; all where a tied head leaves nothing to over-fit."""
        if self.heads is None:
            return [1.0] * len(self.nesting)
        shares = [_LABELS] + [0.0] * (len(self.nesting) - 1)
        return shares if self.follows else [*shares[:-1], 1.0]


def finish(
    model: Classifier,
    features: Float[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    *,
    epochs: int = 12,
    seed: int = 0,
    within: int | None = None,
    folder: Path | str | None = None,
    progress: Progress | None = None,
) -> Classifier:
    """A finished copy of a trained classifier: rotated features, refitted short heads, the same full-width logits.

    Args:
        model: stays as it is; its encoder must know `rotated`.
        features: ``model.encode(images, whole=True)`` of the training images; labels: their classes.
        epochs: over the features, some seconds each.
        seed: of their order.
        within: only the first so many features are rotated, at least the head's: a step costs the cube of them.
        folder: of checkpoints, resumed when there; nothing is written without one.
        progress: as of `fit`.

    Raises:
        InputError: the encoder has no last linear map, or `within` is too small.
        ShapeError: features that are not the model's.
    """
    width = model.encoder.width
    if features.ndim != 2 or features.shape[1] != width:
        raise ShapeError.of("features", f"(n, {width}), all of the encoder's", f"shape {features.shape}")
    turned = width if within is None else min(within, width)
    if turned < model.head.nesting.width:
        raise InputError.of("within", f"at least the {model.head.nesting.width} dims of the head", turned)
    objective = RotationObjective(model.head, turned)
    size = min(512, max(1, len(features) // 16))
    config = TrainConfig(
        epochs=epochs,
        batch_size=size,
        lr=_RATE,
        head_lr=_SHORTEST_RATE,
        weight_decay=0.0,
        label_smoothing=0.0,
        augment=False,
        seed=seed,
    )
    feed = ArrayFeed(features[:, :turned], labels)
    fit(objective, feed, config, folder=folder, resume=folder is not None, progress=progress)
    return _finished(model, objective)


@torch.no_grad()
def _finished(model: Classifier, objective: RotationObjective) -> Classifier:
    rotation = objective.double().rotation()
    old = model.head
    head = NestedLinear(old.nesting, old.classes, tied=old.tied, bias=len(old.biases) > 0)
    weights = [] if objective.heads is None else list[Tensor](objective.heads.weights)
    biases = [] if objective.heads is None else list[Tensor](objective.heads.biases)
    if objective.follows:
        weights.append(objective.widest @ rotation.T)
        biases += [] if objective.widest_bias is None else [objective.widest_bias]
    for own, found in zip((*head.weights, *head.biases), (*weights, *biases), strict=True):
        own.copy_(found)
    whole = torch.eye(model.encoder.width, dtype=rotation.dtype, device=rotation.device)
    whole[: len(rotation), : len(rotation)] = rotation
    encoder = model.encoder.rotated(whole.to(model.device)) if objective.rotates else model.encoder
    return Classifier(encoder, head.to(model.device), classes=model.classes).eval()


def _first(head: NestedLinear, count: int) -> list[nn.Parameter]:
    return [*list(head.weights)[:count], *list(head.biases)[:count]]


def _boosted(count: int) -> tuple[float, ...]:
    return ((4.0, 2.0) + (1.0,) * count)[:count]
