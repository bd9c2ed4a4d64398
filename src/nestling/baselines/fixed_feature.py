"""FF: a model trained at one width (Kusupati et al. 2022, §4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8

from nestling.baselines.base import Baseline, check_dim, check_pair
from nestling.errors import InputError, ShapeError
from nestling.models import Classifier, Encoder, NestedLinear
from nestling.nesting import Nesting
from nestling.training import ArrayFeed, ClassificationObjective, Progress, TrainConfig, fit


class FixedFeature(Baseline):
    """One model per width: the same backbone, whose first m features feed a head of their own.

    So the authors' code does it: the encoder is as wide at every m, and what lies behind m is never read.

    Args:
        build: makes an encoder from a generator, with the same architecture each time.
        config: how each model is trained.
        dims: widths that `fit` trains at once; others are trained when first asked for.
        folder: where the runs go (``folder/ff-M``), resumed when there; nothing is written without one.
        progress: told of each step of each run, as in `training.fit`.
    """

    name: ClassVar[str] = "fixed feature"

    def __init__(
        self,
        build: Callable[[torch.Generator], Encoder],
        config: TrainConfig,
        *,
        dims: Iterable[int] = (),
        folder: Path | str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.build, self.config, self.dims = build, config, tuple(dims)
        self.folder = None if folder is None else Path(folder)
        self.progress = progress
        self._train: tuple[np.ndarray, np.ndarray] | None = None
        self._models: dict[int, Classifier] = {}

    def fit(self, x: UInt8[np.ndarray, "n ch h w"], labels: Int64[np.ndarray, " n"]) -> FixedFeature:
        """Keep the training set (no copy) and train the widths in `dims`.

        Raises:
            ShapeError: not one label per image.
        """
        check_pair(x, labels)
        self._train, self._models = (x, labels), {}
        for dim in self.dims:
            self.model(dim)
        return self

    def model(self, dim: int) -> Classifier:
        """The model of a width, trained now if it was not yet.

        Raises:
            InputError: not fitted, or `dim` is wider than the encoder.
        """
        if dim not in self._models:
            self._models[dim] = self._trained(dim)
        return self._models[dim]

    def encode(self, x: UInt8[np.ndarray, "n ch h w"], dim: int) -> Float32[np.ndarray, "n {dim}"]:
        """The features of the model of this width."""
        self._check(x)
        return self.model(dim).encode(x)

    def predict(self, x: UInt8[np.ndarray, "n ch h w"], dim: int) -> Int64[np.ndarray, " n"]:
        """The classes by the head of the model of this width."""
        self._check(x)
        model = self.model(dim)
        with torch.inference_mode():
            features = torch.from_numpy(model.encode(x)).to(model.device)
            return model.head.logits(features, dim).argmax(dim=1).cpu().numpy()

    def _trained(self, dim: int) -> Classifier:
        images, labels = self._data()
        generator = torch.Generator().manual_seed(self.config.seed)
        encoder = self.build(generator)
        check_dim(dim, encoder.width)
        head = NestedLinear(Nesting((dim,)), int(labels.max()) + 1, generator=generator)
        model = Classifier(encoder, head)
        folder = None if self.folder is None else self.folder / f"ff-{dim}"
        fit(
            ClassificationObjective(model),
            ArrayFeed(images, labels),
            self.config,
            folder=folder,
            resume=folder is not None,
            progress=self.progress,
        )
        return model

    def _data(self) -> tuple[np.ndarray, np.ndarray]:
        if self._train is None:
            raise InputError.of("the baseline", "fitted", "one that is not", "Call fit first.")
        return self._train

    def _check(self, x: np.ndarray) -> None:
        images, _ = self._data()
        if x.shape[1:] != images.shape[1:]:
            raise ShapeError.of("x", f"images of shape {images.shape[1:]}", f"shape {x.shape}")
