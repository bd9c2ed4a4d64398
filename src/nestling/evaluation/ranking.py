"""What each prefix ranks first: mAP, precision, recall and top-1 of exact search (Kusupati et al. 2022, §4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nestling.errors import InputError
from nestling.evaluation.base import Evaluation, Vectors
from nestling.evaluation.report import Row
from nestling.evaluation.retrieval import relevance
from nestling.metrics import mean_average_precision, precision_at_k, recall_at_k
from nestling.search.exact import exact


@dataclass(frozen=True, slots=True)
class Ranking(Evaluation):
    """map@k, precision@k, recall@k (of all gallery items of the class) and top1 of the k nearest by cosine.

    Raises:
        InputError: k is not positive.
    """

    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError.of("k", "positive", self.k)

    def rows(self, vectors: Vectors, *, seed: int, system: str = "nestling") -> list[Row]:
        """Exact; nothing is drawn. Queries without a relevant item are left out of the recall, whose n says so."""
        del seed
        v, k = vectors, min(self.k, len(vectors.train))
        totals = (v.train_labels == v.test_labels[:, None]).sum(axis=1)
        rows: list[Row] = []
        for m in v.nesting:
            right = relevance(exact(v.train, v.test, k, m=m), v.train_labels, v.test_labels)
            recall = recall_at_k(right, totals)
            known = ~np.isnan(recall)
            values = {
                f"map@{k}": (mean_average_precision(right), len(right)),
                f"precision@{k}": (float(precision_at_k(right).mean()), len(right)),
                f"recall@{k}": (float(recall[known].mean()) if known.any() else float("nan"), int(known.sum())),
                "top1": (float(right[:, 0].mean()), len(right)),
            }
            rows += [
                Row(system=system, metric=name, value=value, unit="fraction", n=n, dims=m)
                for name, (value, n) in values.items()
            ]
        return rows
