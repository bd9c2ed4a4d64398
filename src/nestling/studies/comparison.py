"""The paper's first table: one nested model beside what else gives short vectors, at every prefix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nestling.baselines import SVD, RandomFeatures
from nestling.evaluation import OneNN, Row, linear_probe, one_nn, top1_rows
from nestling.metrics import paired_bootstrap
from nestling.models import Classifier
from nestling.nesting import Nesting, prefix
from nestling.studies.watch import Watch


@dataclass(frozen=True, slots=True)
class Encoded:
    """A trained model with the features it gives the training (gallery) and test (query) images."""

    model: Classifier
    train: np.ndarray
    test: np.ndarray

    def predictions(self) -> np.ndarray:
        """(K, q) classes by the trained head of each prefix, of the test images."""
        import torch

        with torch.inference_mode():
            logits = self.model.head(torch.from_numpy(self.test))
        return np.stack([z.argmax(1).numpy() for z in logits])


@dataclass(frozen=True, slots=True)
class Labels:
    """Classes of the training and the test images."""

    train: np.ndarray
    test: np.ndarray


class Comparison:
    """Collects rows, and which test images each system gets right by its nearest neighbour."""

    def __init__(self, labels: Labels, *, seed: int, watch: Watch) -> None:
        self.labels, self.seed, self.watch = labels, seed, watch
        self.rows: list[Row] = []
        self.right: dict[tuple[str, int], np.ndarray] = {}

    def nested(self, system: str, encoded: Encoded) -> OneNN:
        """A trained model: the head and a refitted probe of every prefix, and 1-NN."""
        nesting = encoded.model.head.nesting
        self.rows += top1_rows(encoded.predictions(), self.labels.test, nesting, system=system)
        for m in nesting:
            self._probe(system, m, prefix(encoded.train, m), prefix(encoded.test, m))
        return self._neighbors(system, nesting, encoded.train, encoded.test)

    def svd(self, plain: Encoded, nesting: Nesting) -> None:
        """SVD of the plain model: its classifier cut to rank m, and its features projected on m directions."""
        head = plain.model.head
        weight, bias = head.weight_at(nesting.width), head.bias_at(nesting.width)
        baseline = SVD(weight.detach().numpy(), None if bias is None else bias.detach().numpy())
        baseline.fit(plain.train, self.labels.train)
        predicted = np.stack([baseline.predict(plain.test, m) for m in nesting])
        self.rows += top1_rows(predicted, self.labels.test, nesting, system="SVD")
        train, test = baseline.encode(plain.train, nesting.width), baseline.encode(plain.test, nesting.width)
        for m in nesting:
            self._probe("SVD", m, prefix(train, m), prefix(test, m))
        self._neighbors("SVD", nesting, train, test)

    def random(self, plain: Encoded, nesting: Nesting) -> None:
        """Randomly chosen features of the plain model, under a refitted probe, as in the paper."""
        baseline = RandomFeatures(self.seed).fit(plain.train, self.labels.train)
        train, test = baseline.encode(plain.train, nesting.width), baseline.encode(plain.test, nesting.width)
        for m in nesting:
            self._probe("random", m, prefix(train, m), prefix(test, m))
        self._neighbors("random", nesting, train, test)

    def difference(self, ours: str, theirs: str, m: int) -> Row:
        """1-NN accuracy of one system minus the other's at m dims, with its paired 95 % interval."""
        a, b = self.right[ours, m], self.right[theirs, m]
        row = Row(
            system=f"{ours} - {theirs}",
            metric="1nn_difference",
            value=float(a.mean() - b.mean()),
            unit="fraction",
            n=len(a),
            dims=m,
            interval=paired_bootstrap(a, b, seed=self.seed),
        )
        self.rows.append(row)
        return row

    def _probe(self, system: str, m: int, train: np.ndarray, test: np.ndarray) -> None:
        with self.watch.task(f"probe {m} dims of {system}"):
            probe = linear_probe(train, self.labels.train, test, self.labels.test, seed=self.seed)
        self.rows.append(probe.row(system))

    def _neighbors(self, system: str, nesting: Nesting, train: np.ndarray, test: np.ndarray) -> OneNN:
        with self.watch.task(f"1-NN of {system}"):
            found = one_nn(train, self.labels.train, test, self.labels.test, nesting)
        self.rows += found.rows(system)
        self.right |= {(system, m): right for m, right in zip(nesting, found.correct, strict=True)}
        return found
