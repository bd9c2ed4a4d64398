"""Finishing: an orthogonal map behind a trained encoder, learnt on frozen features, that serves the short prefixes.

R = (I + A)⁻¹ (I − A) with A skew-symmetric (Cayley) is orthogonal, so all cosines and inner products at full width stay
what they were, and the full-width head W · Rᵀ gives the same logits. The other heads are refitted along.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from nestling.errors import ShapeError
from nestling.losses import NestedLoss, mrl_e_cross_entropy
from nestling.models import Classifier, NestedLinear
from nestling.nesting import Nesting, prefix
from nestling.training.config import TrainConfig
from nestling.training.fit import Progress, fit
from nestling.training.objective import Objective

_RATE, _HEAD_RATE = 1e-2, 5.0  # chosen on validation (docs/LOG.md)


class RotationObjective(Objective):
    """The nested cross-entropy of the heads on R · x.

    A head as wide as the features follows from R and has no loss. Without any other head there is nothing to rotate:
    then that one is refitted.

    Args:
        head: a trained one; it is copied.
        width: of the features, at least the head's.
    """

    def __init__(self, head: NestedLinear, width: int) -> None:
        super().__init__()
        dims = head.nesting.dims
        self.follows, self.rotates = width == dims[-1], dims != (width,)
        short = dims[:-1] if self.follows and self.rotates else dims
        self.nesting = Nesting(short, _boosted(len(short)))
        self.skew = nn.Parameter(torch.zeros(width, width), requires_grad=self.rotates)
        bias = head.bias_at(dims[-1])
        self.full = head.weight_at(dims[-1]).detach().clone()
        self.full_bias = None if bias is None else bias.detach().clone()
        self.label_smoothing = 0.0
        self.heads: NestedLinear | None = None  # a tied head as wide as the features follows from R at every prefix
        if not (head.tied and self.follows and self.rotates):
            self.heads = NestedLinear(self.nesting, head.classes, tied=head.tied, bias=bias is not None)
            with torch.no_grad():
                for own, theirs in zip(self.heads.parameters(), _first(head, len(self.heads.weights)), strict=True):
                    own.copy_(theirs)

    def prepare(self, config: TrainConfig) -> None:
        """Take the label smoothing."""
        self.label_smoothing = float(config.label_smoothing)

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """The heads'."""
        return () if self.heads is None else self.heads.parameters()

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
        features = inputs @ rotation[: self.nesting.width].T
        if self.heads is not None:
            return self.heads.loss(features, targets, weights=weights, label_smoothing=self.label_smoothing)
        weight = prefix(self.full.to(inputs.device) @ rotation.T, self.nesting.width)
        bias = None if self.full_bias is None else self.full_bias.to(inputs.device)
        return mrl_e_cross_entropy(
            features, targets, self.nesting, weight, bias, weights=weights, label_smoothing=self.label_smoothing
        )


def finish(
    model: Classifier,
    features: Float[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    *,
    epochs: int = 12,
    seed: int = 0,
    folder: Path | str | None = None,
    progress: Progress | None = None,
) -> Classifier:
    """A finished copy of a trained classifier: rotated features, refitted short heads, the same full-width logits.

    Args:
        model: stays as it is; its encoder must know `rotated`.
        features: ``model.encode(images, whole=True)`` of the training images; labels: their classes.
        epochs: over the features, some seconds each.
        seed: of their order.
        folder: of checkpoints, resumed when there; nothing is written without one.
        progress: as of `fit`.

    Raises:
        InputError: the encoder has no last linear map.
        ShapeError: features that are not the model's.
    """
    width = model.encoder.width
    if features.ndim != 2 or features.shape[1] != width:
        raise ShapeError.of("features", f"(n, {width}), all of the encoder's", f"shape {features.shape}")
    objective = RotationObjective(model.head, width)
    size = min(512, max(1, len(features) // 16))
    config = TrainConfig(
        epochs=epochs,
        batch_size=size,
        lr=_RATE,
        head_lr=_HEAD_RATE,
        weight_decay=0.0,
        label_smoothing=0.0,
        augment=False,
        seed=seed,
    )
    fit(objective, features, labels, config, folder=folder, resume=folder is not None, progress=progress)
    return _finished(model, objective)


@torch.no_grad()
def _finished(model: Classifier, objective: RotationObjective) -> Classifier:
    rotation = objective.double().rotation()
    old = model.head
    head = NestedLinear(old.nesting, old.classes, tied=old.tied, bias=len(old.biases) > 0)
    weights = [] if objective.heads is None else list[Tensor](objective.heads.weights)
    biases = [] if objective.heads is None else list[Tensor](objective.heads.biases)
    if objective.follows and objective.rotates:
        weights.append(objective.full.to(rotation) @ rotation.T)
        biases += [] if objective.full_bias is None else [objective.full_bias]
    for own, found in zip((*head.weights, *head.biases), (*weights, *biases), strict=True):
        own.copy_(found)
    encoder = model.encoder.rotated(rotation.to(model.device)) if objective.rotates else model.encoder
    return Classifier(encoder, head.to(model.device), classes=model.classes).eval()


def _first(head: NestedLinear, count: int) -> list[Tensor]:
    return [*list(head.weights)[:count], *list(head.biases)[:count]]


def _boosted(count: int) -> tuple[float, ...]:
    return ((4.0, 2.0) + (1.0,) * count)[:count]
