"""Finishing: an orthogonal map behind a trained encoder, learnt on frozen features, that serves the short prefixes.

All cosines and inner products at full width stay what they were, and so do the full-width head's logits: see
`training.rotation`, which an adaptor of vectors shares.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nestling.errors import InputError, ShapeError
from nestling.models import Classifier, NestedLinear
from nestling.training.config import TrainConfig
from nestling.training.feed import ArrayFeed
from nestling.training.fit import Progress, fit
from nestling.training.processes import shareable
from nestling.training.rotation import RotationObjective

_RATE, _SHORTEST_RATE = 1e-2, 5.0  # this and what follows: chosen on validation (docs/LOG.md)


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
    size = shareable(min(512, max(1, len(features) // 16)))
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
