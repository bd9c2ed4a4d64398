"""Vectors that exist made nested, and what that is worth on vectors that were not learnt from.

Commands: ``nestling adapt`` and ``nestling apply``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from nestling.adaptor import MatryoshkaAdaptor
from nestling.adaptor.store import check_free
from nestling.data import save_vectors
from nestling.errors import InputError, ShapeError
from nestling.evaluation import Row, dump_rows
from nestling.files import replacing
from nestling.metrics import ndcg_at_k
from nestling.nesting import Nesting, prefix, truncate
from nestling.principal import principal_directions
from nestling.search import exact
from nestling.studies.watch import Watch

SYSTEMS = ("plain cut", "PCA", "adapted")
ROWS = "rows.jsonl"
K = 10
_ASKED, _GALLERY = 2_000, 50_000  # held-out rows, and rows that they are searched among, at most
_COPIED = 4 << 30  # bytes of vectors up to which the rows to learn from are copied out
_ROWS_AT_ONCE = 1 << 15
_KEPT = 0.95  # of the full width: what the sentence looks for


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What is adapted.

    Attributes:
        x: (n, d). labels: (n,) or None. partners: (n, d) or None.
    """

    x: np.ndarray
    labels: np.ndarray | None = None
    partners: np.ndarray | None = None

    def at(self, rows: np.ndarray | slice) -> Given:
        """Some rows of all of it."""
        return Given(*(None if a is None else a[rows] for a in (self.x, self.labels, self.partners)))  # type: ignore[arg-type]


def adapt_vectors(given: Given, out: Path, adaptor: MatryoshkaAdaptor, *, seed: int, watch: Watch) -> list[Row]:
    """Learn from nine tenths of the vectors, measure on the rest, and save the adaptor with the rows of the table.

    Args:
        given: the vectors, with labels or partners or neither.
        out: a folder that is new, empty or an adaptor's; it is the old one until all is done.
        adaptor: with its parameters; its progress is set here.
        seed: of what is held out.

    Returns:
        nDCG@10 and recall@1 (with labels 1-NN, else the share of neighbours found) of each system at each prefix.

    Raises:
        InputError, ShapeError: vectors that cannot be learnt from, or a folder that holds something else.
    """
    check_free(out)
    for other, name in ((given.labels, "labels"), (given.partners, "pairs")):
        if other is not None and len(other) != len(given.x):
            raise ShapeError.of(name, f"one per vector ({len(given.x)})", len(other))
    train, test = _parted(given, seed, watch)
    with watch.task("adapt") as step, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        adaptor.set_params(progress=step)
        if train.partners is None:
            adaptor.fit(train.x, train.labels)
        else:
            adaptor.fit_pairs(train.x, train.partners)
    for each in {str(one.message) for one in told if one.category is UserWarning}:
        watch.say(each)
    rows = _measured(train, test, adaptor, seed, watch)
    adaptor.save(out, {ROWS: dump_rows(rows)})
    show(rows, adaptor.nesting_, watch)
    return rows


def apply_adaptor(folder: Path, vectors: np.ndarray, out: Path, dim: int | None, side: str, watch: Watch) -> None:
    """Adapt, cut and renormalise vectors into a file; a .npy is written block by block.

    Args:
        folder: of `adapt_vectors`.
        vectors: (n, d). out: a file as of `save_vectors`.
        dim: the prefix; None keeps all numbers and their length.
        side: "query" or "document".

    Raises:
        CheckpointError: no adaptor there. InputError, ShapeError: vectors or a dim that do not fit it.
    """
    adaptor = MatryoshkaAdaptor.load(folder)
    width = adaptor.n_features_in_ if dim is None else dim
    if not 1 <= width <= adaptor.n_features_in_:
        raise InputError.of("dim", f"between 1 and the adaptor's {adaptor.n_features_in_}", width)

    def adapted(block: np.ndarray) -> np.ndarray:
        found = adaptor.transform(block, side=side)
        return (found if dim is None else truncate(found, dim)).astype(np.float32, copy=False)

    if out.suffix.lower() != ".npy":
        save_vectors(out, adapted(vectors))
        return
    with watch.task("apply") as step, replacing(out) as temporary:
        header = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=(len(vectors), width))
        for start in range(0, len(vectors), _ROWS_AT_ONCE):
            block = adapted(vectors[start : start + _ROWS_AT_ONCE])
            header[start : start + len(block)] = block
            step(start + len(block), len(vectors), "rows")
        header.flush()
        del header


def show(rows: Sequence[Row], nesting: Nesting, watch: Watch) -> None:
    """The table that decides, and the sentence."""
    value = {(row.metric, row.system, row.dims): row.value for row in rows}
    asked = rows[0].n
    for metric in dict.fromkeys(row.metric for row in rows):
        lines = [[s, *(f"{100 * value[metric, s, m]:.1f}" for m in nesting)] for s in SYSTEMS]
        watch.table(f"{metric}, {asked:,} held-out vectors, %", ["dims", *map(str, nesting)], lines)
    watch.say(sentence(rows, nesting))


def sentence(rows: Sequence[Row], nesting: Nesting) -> str:
    """ "64 dims keep 96 % of nDCG@10 at 1/6 of the bytes": the shortest prefix that keeps most, of the full width."""
    metric = f"nDCG@{K}"
    value = {(row.system, row.dims): row.value for row in rows if row.metric == metric}
    whole = value["plain cut", nesting.width] or 1.0
    shares = {m: value["adapted", m] / whole for m in nesting}
    best = next((m for m in nesting if shares[m] >= _KEPT), nesting.width)
    part = Fraction(best, nesting.width)
    size = "all" if part == 1 else f"{part}" if part.numerator == 1 else f"{float(part):.2f}"
    return f"{best} dims keep {100 * shares[best]:.0f} % of {metric} at {size} of the bytes."


def _parted(given: Given, seed: int, watch: Watch) -> tuple[Given, Given]:
    n = len(given.x)
    spare = min(n // 10, _ASKED)
    if spare < 1 or n - spare < 2:
        raise InputError.of("vectors", "at least 20", n, "A tenth is held out to measure on.")
    if given.x.nbytes > _COPIED:
        watch.say(f"The last {spare:,} vectors are held out: there are too many to copy.")
        return given.at(slice(0, n - spare)), given.at(slice(n - spare, n))
    order = np.random.default_rng(seed).permutation(n)
    return given.at(np.sort(order[spare:])), given.at(np.sort(order[:spare]))


def _measured(train: Given, test: Given, adaptor: MatryoshkaAdaptor, seed: int, watch: Watch) -> list[Row]:
    nesting, rng = adaptor.nesting_, np.random.default_rng(seed)
    some = np.sort(rng.permutation(len(train.x))[:_GALLERY])
    near = train.at(some)
    gallery = near.x if test.partners is None else test.partners
    sides = [_floats(side) for side in (test.x, gallery)]
    basis = principal_directions(_floats(train.x[some])).astype(np.float32)
    systems = {
        "plain cut": sides,
        "PCA": [side @ basis for side in sides],
        "adapted": [_floats(adaptor.transform(sides[0], side="query")), _floats(adaptor.transform(sides[1]))],
    }
    k = min(K, len(gallery))
    true = exact(sides[1], sides[0], k).ids if test.labels is None and test.partners is None else None
    rows: list[Row] = []
    with watch.task("measure") as step:
        for done, (name, (queries, items)) in enumerate(systems.items()):
            for at, m in enumerate(nesting):
                step(done * len(nesting) + at, len(systems) * len(nesting), f"{name}, {m} dims")
                found = exact(prefix(items, nesting.width), prefix(queries, nesting.width), k, m=m).ids
                rows += _rows(name, m, *_relevance(found, near, test, true))
    return rows


def _relevance(
    found: np.ndarray, near: Given, test: Given, true: np.ndarray | None
) -> tuple[Bool[np.ndarray, "q k"], np.ndarray, str]:
    """Which hits are right, how many there are to find, and what the share of first places is called."""
    if true is not None:
        right = (found[:, :, None] == true[:, None, :]).any(axis=2)
        return right, np.full(len(found), true.shape[1]), f"neighbours@{K}"
    if test.labels is not None:
        assert near.labels is not None
        classes, counts = np.unique(near.labels, return_counts=True)
        totals = dict(zip(classes.tolist(), counts.tolist(), strict=True))
        there = np.array([totals.get(label, 0) for label in test.labels.tolist()])
        return near.labels[found] == test.labels[:, None], there, "1-NN"
    return found == np.arange(len(found))[:, None], np.ones(len(found), np.int64), "recall@1"


def _rows(system: str, m: int, right: np.ndarray, totals: np.ndarray, name: str) -> list[Row]:
    first = right.mean() if name.startswith("neighbours") else right[:, 0].mean()
    gained = ndcg_at_k(right, totals)
    values = {f"nDCG@{K}": float(np.nanmean(gained)) if (totals > 0).any() else 0.0, name: float(first)}
    return [
        Row(system=system, metric=metric, value=value, unit="fraction", n=len(right), dims=m)
        for metric, value in values.items()
    ]


def _floats(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x, np.float32)
