"""What a model of texts finds, prefix by prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from nestling.data.text_pairs import TextPairs
from nestling.evaluation import Row
from nestling.metrics import ndcg_at_k, paired_bootstrap, recall_at_k
from nestling.nesting import Nesting
from nestling.search import exact

K = 10
METRICS = ("nDCG@10", "recall@10", "recall@1")

Values = Mapping[str, Float32[np.ndarray, "K q"]]
"""Metric → a number for each prefix and query."""


def found_by(queries: np.ndarray, documents: np.ndarray, asked: TextPairs, nesting: Nesting) -> Values:
    """nDCG@10, recall@10, and whether the first document answers, of each query at each prefix.

    Args:
        queries, documents: (q, d) and (m, d), of all texts that are asked.
    """
    answers = set(map(tuple, asked.pairs.tolist()))
    totals = np.bincount(asked.pairs[:, 0], minlength=len(queries))
    lines: dict[str, list[np.ndarray]] = {name: [] for name in METRICS}
    for m in nesting:
        ids = exact(documents, queries, min(K, len(documents)), m=m).ids
        right = np.array([[(q, int(i)) in answers for i in row] for q, row in enumerate(ids)])
        for name, values in zip(
            METRICS, (ndcg_at_k(right, totals), recall_at_k(right, totals), right[:, 0]), strict=True
        ):
            lines[name].append(np.asarray(values, np.float32))
    return {name: np.stack(each) for name, each in lines.items()}


def rows_of(found: Mapping[str, Values], nesting: Nesting) -> list[Row]:
    """Means of each system, and differences from the first with 95 % intervals over queries."""
    first, *others = found
    rows = [
        Row(system=system, metric=metric, value=float(line.mean()), unit="fraction", n=len(line), dims=m)
        for system, values in found.items()
        for metric, lines in values.items()
        for m, line in zip(nesting, lines, strict=True)
    ]
    for system in others:
        for metric in METRICS:
            for k, m in enumerate(nesting):
                ours, theirs = found[system][metric][k], found[first][metric][k]
                rows.append(
                    Row(
                        system=f"{system} − {first}",
                        metric=f"{metric}_difference",
                        value=float(ours.mean(dtype=np.float64) - theirs.mean(dtype=np.float64)),
                        unit="fraction",
                        n=len(ours),
                        dims=m,
                        interval=paired_bootstrap(ours, theirs, seed=0),
                    )
                )
    return rows


def tables(rows: Sequence[Row], nesting: Nesting) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, columns and lines: nDCG@10 of each system, and what each gained."""
    metric = METRICS[0]
    value = {(row.system, row.dims): row for row in rows if row.metric == metric}
    gained = {(row.system, row.dims): row for row in rows if row.metric == f"{metric}_difference"}
    systems, differences = (list(dict.fromkeys(system for system, _ in each)) for each in (value, gained))
    columns = ["dims", *map(str, nesting)]
    asked = next(iter(value.values())).n
    return [
        (
            f"{metric} of {asked:,} queries that were not learnt from, %",
            columns,
            [[s, *(f"{100 * value[s, m].value:.1f}" for m in nesting)] for s in systems],
        ),
        (  # a line for each prefix: intervals are wide, and prefixes more than systems
            f"gained over {systems[0]}, points [95 %]",
            ["dims", *(s.removesuffix(f" − {systems[0]}") for s in differences)],
            [[str(m), *(_interval(gained[s, m]) for s in differences)] for m in nesting],
        ),
    ]


def _interval(row: Row) -> str:
    assert row.interval is not None
    low, high = (100 * bound for bound in row.interval)
    return f"{100 * row.value:+.1f} [{low:+.1f}, {high:+.1f}]"
