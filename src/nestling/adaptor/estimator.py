"""`MatryoshkaAdaptor`: the estimator."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from nestling.adaptor import store
from nestling.adaptor.checking import checked_gram, checked_labels, checked_nesting, checked_pairs, checked_vectors
from nestling.adaptor.maps import Map
from nestling.adaptor.settings import Material, Settings, checked_settings, phases_of
from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.principal import directions_of

_SIDES = ("query", "document")


class MatryoshkaAdaptor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Learns a map over vectors that exist, so that their first 8, 16, 32 … numbers are good embeddings.

    ``kind="rotation"``: one orthogonal map for both sides, which leaves all cosines and inner products at full width as
    they are. It begins as the uncentred PCA. Without labels it keeps the neighbours (KL of the prefix's neighbour
    distribution from the full width's), with labels it learns the nested cross-entropy, with pairs the nested InfoNCE.

    ``kind="residual"``: x + f(x) with one hidden layer (Matryoshka-Adaptor, Yoon et al. 2024, arXiv 2407.20243), which
    begins as that rotation and changes the full width too: better where pairs or labels tell what is near.

    Cosine is what is learnt for: compare what `nestling.truncate` makes of the adapted vectors.

    Args:
        kind: "rotation" or "residual".
        nesting: a `Nesting`, its text, or dims; None doubles from 8 to the data's width.
        steps: of learning, at most.
        batch_size: rows a step, 512, or 256 anchors with their neighbours, when None.
        learning_rate: None takes what suits the kind.
        temperature: τ of the neighbour distributions and of the InfoNCE; None takes what suits the data.
        neighbors: k, mined for each anchor where there are no labels and no pairs.
        hidden: width of the residual map's layer; None takes the data's width.
        separate: with pairs, a residual map for each side: ``transform(X, side="query")``.
        held_out: share of the rows, 2,048 at most, that is not learnt from but decides when to end.
        patience: looks at them, of 20, without a gain before the end.
        random_state: seed or generator.
        progress: called as ``progress(done, 1000, words)``.

    Attributes:
        nesting_: the prefixes.
        maps_: one map, or one for queries and one for documents.
        n_features_in_: d.
        n_steps_: how many steps were done.
    """

    nesting_: Nesting
    maps_: tuple[Map, ...]
    n_steps_: int
    n_features_in_: int

    def __init__(
        self,
        kind: str = "rotation",
        *,
        nesting: Any = None,
        steps: int = 400,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        temperature: float | None = None,
        neighbors: int = 8,
        hidden: int | None = None,
        separate: bool = False,
        held_out: float = 0.1,
        patience: int = 10,
        random_state: Any = None,
        progress: Callable[[int, int, str], object] | None = None,
    ) -> None:
        self.kind = kind
        self.nesting = nesting
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.temperature = temperature
        self.neighbors = neighbors
        self.hidden = hidden
        self.separate = separate
        self.held_out = held_out
        self.patience = patience
        self.random_state = random_state
        self.progress = progress

    def fit(self, X: Any, y: Any = None) -> MatryoshkaAdaptor:
        """Learn from vectors, or from vectors with classes.

        A floating array is read in batches and never copied: 10 million × 768 may be mapped.

        Args:
            X: (n, d) at least two vectors. y: (n,) classes, or None.

        Raises:
            InputError: too few rows, NaN, equal rows, a single class, parameters out of range.
            MissingExtraError: torch is not installed.
        """
        x = checked_vectors(self, X, reset=True)
        return self._fit(Material(x, None if y is None else checked_labels(y, len(x))), None)

    def fit_pairs(self, A: Any, B: Any) -> MatryoshkaAdaptor:
        """Learn from pairs: queries with their documents, pictures with their captions.

        Args:
            A, B: (n, d), row i of one belonging to row i of the other.

        Raises:
            InputError, ShapeError: as of `fit`, or sides that do not fit.
        """
        a, b = checked_pairs(self, A, B, reset=True)
        return self._fit(Material(a, partners=b), None)

    def partial_fit(self, X: Any, y: Any = None) -> MatryoshkaAdaptor:
        """Learn on from what was learnt, by rows of a corpus that has drifted; the first call is `fit`.

        A rotation turns on from where it is, a residual map begins anew from the rotation that is nearest to it.

        Raises:
            InputError: as of `fit`, or another width.
        """
        if not hasattr(self, "maps_"):
            return self.fit(X, y)
        x = checked_vectors(self, X, reset=False)
        if len(x) < 2:
            raise InputError.of("X", "at least two vectors", f"n_samples = {len(x)}")
        left, _, right = np.linalg.svd(self.maps_[-1].matrix.astype(np.float64))
        return self._fit(Material(x, None if y is None else checked_labels(y, len(x))), left @ right)

    def transform(self, X: Any, side: str = "document") -> Float[np.ndarray, "n d"]:
        """The adapted vectors, of the same width: cut them with `nestling.truncate`.

        Needs NumPy only. float64 stays float64; anything else becomes float32.

        Args:
            X: (n, d). side: "query" or "document", which of two maps; the same for both where there is one.

        Raises:
            InputError: NaN, infinity, another width or side.
            NotFittedError: scikit-learn's, before `fit`.
        """
        check_is_fitted(self, "maps_")
        if side not in _SIDES:
            raise InputError.of("side", "'query' or 'document'", repr(side))
        x = checked_vectors(self, X, reset=False)
        return self.maps_[0 if side == "query" else -1](x)

    def save(self, folder: str | os.PathLike[str], more: Mapping[str, str] | None = None) -> None:
        """Write the adaptor into a folder, whole or not at all: ``adaptor.json`` and safetensors.

        Args:
            folder: new, empty, or one of an adaptor, which is replaced.
            more: texts to keep beside it, by file name.

        Raises:
            NotFittedError: scikit-learn's, before `fit`.
            InputError, DataError: the folder holds something else, or cannot be written.
        """
        check_is_fitted(self, "maps_")
        store.save(folder, store.Saved(self._parameters(), str(self.nesting_), self.n_steps_, self.maps_), more)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> MatryoshkaAdaptor:
        """Read what `save` wrote; it transforms as it did, and a progress or a generator is not kept.

        Raises:
            CheckpointError: no adaptor there, or a damaged one.
        """
        found = store.load(folder)
        names = set(cls().get_params())
        if set(found.parameters) - names:
            raise store.damaged(folder, "unknown parameters")
        self = cls(**found.parameters)
        self.nesting_, self.n_steps_, self.maps_ = Nesting.parse(found.nesting), found.steps, found.maps
        self.n_features_in_ = len(found.maps[0].matrix)
        return self

    def _fit(self, material: Material, start: Float[np.ndarray, "d d"] | None) -> MatryoshkaAdaptor:
        width = material.x.shape[1]
        nesting = checked_nesting(self.nesting, width)
        settings = self._settings(nesting, material)
        sides = (material.x,) if material.partners is None else (material.x, material.partners)
        phases = phases_of(material, settings, self.progress)
        gram = checked_gram(*sides, told=phases.next())
        begin = directions_of(gram) if start is None else start
        learning = _learning()
        self.maps_, self.n_steps_ = learning.learnt(material, begin, gram, settings, phases)
        self.nesting_ = nesting
        return self

    def _settings(self, nesting: Nesting, material: Material) -> Settings:
        return checked_settings(
            self._parameters(), nesting, material, int(check_random_state(self.random_state).randint(2**31 - 1))
        )

    def _parameters(self) -> dict[str, Any]:
        """Those that JSON can hold."""
        plain = {name: value for name, value in self.get_params(deep=False).items() if name != "progress"}
        plain["nesting"] = None if self.nesting is None else str(checked_nesting(self.nesting, 1 << 30))
        state = self.random_state
        plain["random_state"] = int(state) if isinstance(state, int | np.integer) else None
        return plain

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _learning() -> Any:
    """Torch comes here, not before."""
    try:
        return importlib.import_module("nestling.adaptor.learning")
    except ImportError as error:
        from nestling.errors import missing_extra

        raise missing_extra(error) or error from error
