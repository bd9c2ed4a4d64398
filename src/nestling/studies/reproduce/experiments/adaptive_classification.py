"""Adaptive classification: stop at the first prefix that is sure enough (paper: §4.2.1, Figure 6, Table 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nestling.errors import InputError
from nestling.evaluation import Row, cascade, dump_rows, load_rows
from nestling.evaluation.cascade import Cascade
from nestling.nesting import Nesting
from nestling.studies import plots
from nestling.studies.reproduce import paper
from nestling.studies.reproduce.recipe import Training
from nestling.studies.reproduce.section import Cell, Section, Table, mean_of, percent, told
from nestling.studies.reproduce.settings import Settings
from nestling.studies.reproduce.systems import Block, Systems
from nestling.studies.watch import Step

_GREEDY, _JOINT, _PROMISED, _FIXED, _ORACLE = "greedy", "joint", "promised", "fixed width", "oracle"
_VERSION = 2  # of what is kept
_FIFTH = "a fifth of test"
_PRICES = (0.0, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05)  # of accuracy below the best that validation shows
_JUDGED = (
    "Agrees: asking by confidence needs a fifth of the dims or fewer for nearly all accuracy, and thresholds "
    "found together with pooled answers beat the greedy rule at its dims. Does not: within .3 points of the "
    "best width takes 1/5.5 of its dims, not 1/14. What is found on validation carries over to other families "
    "in part: in one seed of three the answers of all prefixes together are .4 below those of the widest head, "
    "in the others .1 and .6 above. Learned gates did no better than the largest softmax (docs/LOG.md)."
)


def trainings(systems: Systems) -> list[Training]:
    """MRL."""
    return systems.nested_trainings(systems.settings.seeds, ["MRL"])


def rows(systems: Systems) -> list[Row]:
    """Accuracy and expected dims of cascades on the test images, chosen on validation or on a fifth of them."""
    found: list[Row] = []
    for seed in systems.settings.seeds:
        block = systems.nested("MRL", seed)
        name = f"cascades-{_VERSION}-{systems.settings.redraws}"
        text = systems.zoo.text(block.key, name, lambda block=block, seed=seed: dump_rows(_of(block, systems, seed)))
        found += [replace(row, seed=seed) for row in load_rows(text)]
    return found


def section(rows: Sequence[Row], settings: Settings) -> Section:
    """The table, the plot over dims, the paper's points beside them."""
    names = list(dict.fromkeys(row.system for row in rows if row.metric == "cascade_top1"))
    draws = settings.redraws
    theirs = [[f"{p.cap}", f"{p.dims:.1f}", f"{p.accuracy:.2f}"] for p in paper.CASCADE]
    points = {
        name: (mean_of(rows, "cascade_dims", name, None), 100 * mean_of(rows, "cascade_top1", name, None))
        for name in names
    }
    curves = {
        kind: sorted(at for name, at in points.items() if name.startswith(kind))
        for kind in (_JOINT, _GREEDY, _FIXED, _PROMISED)
    }
    return Section(
        title="Adaptive classification",
        claim="Asking wider prefixes only when the narrow ones are unsure reaches the accuracy of 512 dims with 37 "
        "expected dims: 14 times fewer (Figure 6).",
        judged=_JUDGED,
        found=_sentences(rows, settings),
        tables=[
            _table(
                "Cascades on MRL's heads; thresholds found on validation, figures of test (means over seeds)",
                rows,
                None,
            ),
            _table(
                f"Thresholds from a fifth of test, figures of the rest, as in the paper ({draws} draws)",
                rows,
                _FIFTH,
            ),
            Table(
                "The paper: cap on the width, expected dims, accuracy (ImageNet-1K)", ["cap", "dims", "top-1 %"], theirs
            ),
        ],
        pictures=[plots.curves(curves, xlabel="expected dims", ylabel="top-1, %")],
    )


def _table(title: str, rows: Sequence[Row], group: str | None) -> Table:
    def cell(metric: str, name: str) -> Cell:
        value = mean_of(rows, metric, name, None, group)
        text = percent(value) if metric == "cascade_top1" else "" if value != value else f"{value:.1f}"
        return told(rows, text, metric=metric, system=name, group=group)

    names = dict.fromkeys(row.system for row in rows if row.metric == "cascade_top1" and row.group == group)
    metrics = ("cascade_top1", "cascade_dims", "cascade_cumulative_dims")
    columns = ["", "top-1 %", "expected dims", "heads added up"]
    return Table(title, columns, [[name, *(cell(metric, name) for metric in metrics)] for name in names])


def _of(block: Block, systems: Systems, seed: int) -> list[Row]:
    assert block.logits is not None
    val, test = block.logits("val"), block.logits("test")
    labels, truth, nesting = systems.images.val.labels, systems.images.test.labels, block.nesting
    found: list[Row] = []
    for m, z in zip(nesting, test, strict=True):
        right = float((z.argmax(axis=1) == truth).mean())
        found += _rows(f"{_FIXED} {m}", right, float(m), float(m), len(truth))
    with systems.zoo.watch.task("the paper's cascades") as step:
        for i in range(2, len(nesting) + 1):
            step(i - 2, len(nesting) - 1)
            capped = Nesting(nesting.dims[:i])
            found += _redrawn(f"{_GREEDY} up to {capped.width}", capped, val, labels, test, truth, systems)
    for name, fitted in _joint(val, labels, nesting).items():
        found += _measured(name, fitted, test, truth)
    best = max(float((z.argmax(axis=1) == labels).mean()) for z in val)
    for below in (0.03, 0.05, 0.08):
        try:
            promised = cascade.fit(val, labels, nesting, target_accuracy=best - below, seed=seed)
        except InputError:
            continue
        found += _measured(f"{_PROMISED} {100 * below:g} below best", promised, test, truth)
    predicted = np.stack([z.argmax(axis=1) for z in test])
    accuracy, dims = cascade.oracle(predicted, truth, nesting)
    found += _rows(_ORACLE, accuracy, dims, float("nan"), len(truth)) + _costs(block, systems)
    with systems.zoo.watch.task("cascades on fifths of test") as step:
        return found + _as_the_paper(test, truth, nesting, systems.settings.redraws, step)


def _joint(logits: Sequence[np.ndarray], labels: np.ndarray, nesting: Nesting) -> dict[str, Cascade]:
    """The cheapest cascades that lie at most so far below the best on these items."""
    frontier = cascade.frontier(logits, labels, nesting)
    reached = [float((each.answers(logits).predicted == labels).mean()) for each in frontier]
    found: dict[str, Cascade] = {}
    for below in _PRICES:
        at = [i for i, accuracy in enumerate(reached) if accuracy >= max(reached) - below]
        found[f"{_JOINT} {100 * below:g} below best"] = frontier[at[-1]]
    return found


def _as_the_paper(
    test: Sequence[np.ndarray], truth: np.ndarray, nesting: Nesting, redraws: int, step: Step
) -> list[Row]:
    """Thresholds from a fifth of the test images, figures of the other four, means over draws of the fifth."""
    rng = np.random.default_rng(0)
    values: dict[str, list[list[float]]] = {}
    for done in range(redraws):
        step(done, redraws)
        fifth, rest = np.split(rng.permutation(len(truth)), [len(truth) // 5])
        own, logits = [z[fifth] for z in test], [z[rest] for z in test]
        fitted = {f"{_FIXED} {nesting.width}": Cascade(Nesting((nesting.width,)), ())}
        fitted[f"{_GREEDY} up to {nesting.width}"] = cascade.greedy(own, truth[fifth], nesting)
        for name, each in (fitted | _joint(own, truth[fifth], nesting)).items():
            heads = logits[-1:] if name.startswith(_FIXED) else logits
            values.setdefault(name, []).append([row.value for row in _measured(name, each, heads, truth[rest])])
    found: list[Row] = []
    for name, each in values.items():
        accuracy, dims, cumulative = np.mean(each, axis=0).tolist()
        found += [replace(row, group=_FIFTH) for row in _rows(name, accuracy, dims, cumulative, len(truth))]
    return found


def _redrawn(
    name: str,
    nesting: Nesting,
    val: Sequence[np.ndarray],
    labels: np.ndarray,
    test: Sequence[np.ndarray],
    truth: np.ndarray,
    systems: Systems,
) -> list[Row]:
    """The paper's greedy thresholds, a mean over redrawn validation sets."""
    rng, values = np.random.default_rng(0), []
    for _ in range(systems.settings.redraws):
        drawn = rng.integers(len(labels), size=len(labels))
        fitted = cascade.greedy([z[drawn] for z in val], labels[drawn], nesting)
        values.append([row.value for row in _measured(name, fitted, test, truth)])
    accuracy, dims, cumulative = np.mean(values, axis=0).tolist()
    return _rows(name, accuracy, dims, cumulative, len(truth))


def _measured(name: str, fitted: Cascade, test: Sequence[np.ndarray], truth: np.ndarray) -> list[Row]:
    answers = fitted.answers(test)
    dims, cumulative = fitted.expected_dims(answers.used)
    return _rows(name, float((answers.predicted == truth).mean()), dims, cumulative, len(truth))


def _rows(name: str, accuracy: float, dims: float, cumulative: float, n: int) -> list[Row]:
    values = {
        "cascade_top1": (accuracy, "fraction"),
        "cascade_dims": (dims, "dims"),
        "cascade_cumulative_dims": (cumulative, "dims"),
    }
    return [Row(system=name, metric=m, value=v, unit=unit, n=n) for m, (v, unit) in values.items()]


def _costs(block: Block, systems: Systems) -> list[Row]:
    """Operations of the backbone and of the widest head, for one image: what a cascade cannot save, and what it can."""
    backbone = systems.backbone_flops(block)
    head = 2 * block.nesting.width * len(systems.images.classes)
    return [
        Row(system=name, metric="mflops", value=flops / 1e6, unit="MFLOPs", n=1)
        for name, flops in (("backbone", backbone), ("widest head", head))
    ]


def _sentences(rows: Sequence[Row], settings: Settings) -> list[str]:
    def at(name: str) -> tuple[float, float, float]:
        return (
            mean_of(rows, "cascade_top1", name, None),
            mean_of(rows, "cascade_dims", name, None),
            mean_of(rows, "cascade_cumulative_dims", name, None),
        )

    found: list[str] = []
    best = max((at(f"{_FIXED} {m}") for m in settings.nesting), key=lambda point: point[0])
    joint = [at(name) for name in dict.fromkeys(r.system for r in rows) if name.startswith(_JOINT)]
    near = [point for point in joint if point[0] >= best[0] - 0.003]
    if near:
        accuracy, dims, cumulative = min(near, key=lambda point: point[1])
        found.append(
            f"Within 0.3 points of the best fixed width ({100 * best[0]:.2f} % at {best[1]:.0f} dims): "
            f"{100 * accuracy:.2f} % with {dims:.1f} expected dims, 1/{best[1] / dims:.1f} of them; "
            f"{cumulative:.1f} with all heads on the way, 1/{best[1] / cumulative:.1f}."
        )
    for name in dict.fromkeys(r.system for r in rows):
        if name.startswith(_GREEDY):
            accuracy, dims, _ = at(name)
            ours = _between([(d, a) for a, d, _ in joint], dims)
            if ours is not None:
                found.append(
                    f"{name}: {100 * accuracy:.2f} % at {dims:.1f} dims; thresholds found together "
                    f"{100 * ours:.2f} % there ({100 * (ours - accuracy):+.2f})."
                )
    backbone, head = (mean_of(rows, "mflops", name, None) for name in ("backbone", "widest head"))
    full, ours = (
        mean_of(rows, "cascade_top1", name, None, _FIFTH)
        for name in (f"{_FIXED} {settings.nesting.width}", f"{_JOINT} 0 below best")
    )
    spent = mean_of(rows, "cascade_dims", f"{_JOINT} 0 below best", None, _FIFTH)
    found.append(
        f"Fitted on a fifth of test: {100 * ours:.2f} % with {spent:.1f} expected dims, full width {100 * full:.2f} %."
    )
    found.append(
        f"The backbone takes {backbone:.1f} MFLOPs an image, the widest head {head:.2f}: with the backbone counted, a "
        f"cascade saves at most {100 * head / (head + backbone):.2f} %. It pays "
        "where features are kept, or classes are many."
    )
    return found


def _between(points: Sequence[tuple[float, float]], dims: float) -> float | None:
    """The accuracy at these dims on the line through the points; None outside them."""
    xs, ys = zip(*sorted(points), strict=True) if points else ((), ())
    if not xs or not xs[0] <= dims <= xs[-1]:
        return None
    return float(np.interp(dims, xs, ys))
