"""Linear classification and 1-NN at every prefix, all systems (paper: Figures 2 and 3, Tables 1 and 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nestling.evaluation import Row, macro_rows
from nestling.evaluation.base import correct_rows
from nestling.nesting import Nesting
from nestling.studies import plots
from nestling.studies.reproduce import paper
from nestling.studies.reproduce.differences import CLOSE, PAIRS, grouped_rows
from nestling.studies.reproduce.judged import LINEAR, Judged, judge
from nestling.studies.reproduce.recipe import Training
from nestling.studies.reproduce.section import Cell, Section, Table, by_prefix, lines_of, mean_of, percent
from nestling.studies.reproduce.settings import FEW_DIMS, Settings
from nestling.studies.reproduce.systems import HEAD, NEIGHBOR, PLAIN, PROBE, VOTE, Systems

_TITLES = {
    LINEAR: "linear top-1, the better of trained head and refitted probe, %",
    HEAD: "linear top-1, trained head, %",
    PROBE: "linear top-1, probe refitted on frozen prefixes, %",
    NEIGHBOR: "1-NN top-1, %",
    VOTE: "10-NN top-1, the class of most of them, %",
}
_WIDE_TITLES = {
    f"{LINEAR}_macro": "linear top-1, mean over classes, %",
    f"{NEIGHBOR}_macro": "1-NN top-1, mean over classes, %",
    f"{LINEAR}_not_near": "linear top-1 of the test images that no training image nearly equals, %",
    f"{NEIGHBOR}_not_near": "1-NN top-1 of the test images that no training image nearly equals, %",
}
_BACKBONE = "backbone_mflops"
_JUDGED = (
    "Agrees: SVD's classifier, random features and slimmable cuts fall far behind at few dims, MRL does not; "
    "MRL-E loses little from 32 dims on, and most at 8. Does not: MRL lies .2 to .8 points below FF instead of "
    "above, told apart at no prefix. FF is stronger here, as the better of finished and raw by validation; and, "
    "we think, an encoder of 1.9 million weights in twelve epochs has not the room of a ResNet-50: without 8 "
    "dims all other prefixes gain .6 to 1.2 points (Ablations). SVD and PCA are strong under 1-NN from 32 dims "
    "on: simple drawings seem to need few directions."
)


def trainings(systems: Systems) -> list[Training]:
    """All models of the main table."""
    return systems.trainings()


def rows(systems: Systems) -> list[Row]:
    """Top-1 of every system, seed and prefix, of all images and by groups for those that are compared."""
    found: list[Row] = []
    for seed in systems.settings.few_dims_seeds:
        of_seed: list[Row] = []
        for judged in _judged(systems, seed):
            for metric, each in judged.right.items():
                of_seed += correct_rows(each, judged.nesting, metric=metric, system=judged.system)
            of_seed += _more(judged, systems) + _grouped(judged, systems, seed)
        # Where plain models have fewer seeds, nested ones have no more: a table's means are of the same seeds.
        whole = seed in systems.settings.seeds
        found += [replace(row, seed=seed) for row in of_seed if whole or (row.dims or 0) <= FEW_DIMS]
    if systems.settings.once:
        pixels = judge(systems.pixels(), systems)
        found += correct_rows(pixels.right[NEIGHBOR], pixels.nesting, metric=NEIGHBOR, system="pixels")
    return found + _backbones(systems)


def _judged(systems: Systems, seed: int) -> list[Judged]:
    """All systems, and plain models as the better of their two variants."""
    found = [judge(block, systems) for block in systems.main(seed, variants=True)]
    for system in PLAIN:
        finished, raw = ([each for each in found if each.system == f"{system} {kind}"] for kind in ("finished", "raw"))
        better = [a.or_better(b, system) for a, b in zip(finished, raw, strict=True)]
        first = found.index(finished[0]) if finished else len(found)
        found = found[:first] + better + found[first:]
    return found


def section(rows: Sequence[Row], settings: Settings) -> Section:
    """Tables with the paper's figures, both plots, and the goals with their intervals."""
    own = {LINEAR: paper.LINEAR, NEIGHBOR: paper.ONE_NN}
    short = [by_prefix(title, rows, m, paper=own.get(m), without=("pixels",)) for m, title in _TITLES.items()]
    wide = [by_prefix(title, rows, m, without=("pixels",), wide=True) for m, title in _WIDE_TITLES.items()]
    hidden = {"pixels", *(row.system for row in rows if row.system.endswith((" raw", " finished", " projected")))}
    panels = {
        title: lines_of(rows, metric, without=hidden)
        for metric, title in ((LINEAR, "linear top-1"), (NEIGHBOR, "1-NN top-1"))
    }
    return Section(
        title="Every prefix is an embedding",
        claim="MRL is as accurate as a model trained at each width alone (FF), better at small widths under 1-NN, and "
        "far above SVD, slimmable networks and random features (Figures 2 and 3).",
        judged=_JUDGED,
        found=_sentences(rows, settings),
        tables=[_difference_table(rows, settings), *short, _backbone_table(rows), *wide],
        pictures=[plots.over_dims(panels, ylabel="accuracy, %"), *_difference_picture(rows)],
    )


def _more(judged: Judged, systems: Systems) -> list[Row]:
    """Macro averages over classes, and scores without what train has nearly the same."""
    test, nesting, correct = systems.images.test, judged.nesting, judged.right
    fewest = min(5, int(np.bincount(test.labels).max()))
    found: list[Row] = []
    for metric in (LINEAR, NEIGHBOR):
        if metric in correct:
            right, name = correct[metric], f"{metric}_macro"
            found += macro_rows(right, test.labels, nesting, metric=name, fewest=fewest, system=judged.system)
            if test.near.any() and not test.near.all():
                apart = right[:, ~test.near]
                found += correct_rows(apart, nesting, metric=f"{metric}_not_near", system=judged.system)
    return found


def _grouped(judged: Judged, systems: Systems, seed: int) -> list[Row]:
    """What the differences are made of; only at the prefixes of the nesting."""
    groups, found = systems.images.test.groups, list[Row]()
    places = [i for i, m in enumerate(judged.nesting) if m in systems.nesting.dims]
    nesting = Nesting(tuple(judged.nesting.dims[i] for i in places)) if places else None
    for metric in (LINEAR, NEIGHBOR):
        if metric in judged.right and nesting is not None:
            right = judged.right[metric][places]
            found += grouped_rows(right, groups, nesting, metric=metric, system=judged.system, seed=seed)
    return found


def _sentences(rows: Sequence[Row], settings: Settings) -> list[str]:
    found: list[str] = []
    for ours, theirs in PAIRS:
        for metric, words in ((LINEAR, "Linear"), (NEIGHBOR, "1-NN")):
            told = [row for row in rows if (row.system, row.metric) == (f"{ours} - {theirs}", f"{metric}_difference")]
            if told:
                found.append(f"{words}, {ours} minus {theirs}: {_verdict(told)}.")
    m = settings.nesting.width
    gap = mean_of(rows, PROBE, "FF", m) - mean_of(rows, HEAD, "FF raw", m)
    if gap == gap:
        found.append(f"Probe minus trained head of the plain model at {m} dims: {100 * gap:+.2f} points.")
    if widths := [str(row.dims) for row in rows if (row.system, row.metric) == ("slimmable", _BACKBONE)]:
        found.append(
            f"The slimmable network has the widths {', '.join(widths)}; between and below them it is a cut: its "
            "first features, from the next wider network."
        )
    found += [
        f"1-NN of the pixels themselves ({row.dims:,} dims): {percent(row.value)} %."
        for row in rows
        if (row.system, row.metric) == ("pixels", NEIGHBOR)
    ]
    return found


def _verdict(rows: Sequence[Row]) -> str:
    """Which of the differences are told apart from nothing."""
    above = [str(row.dims) for row in rows if row.interval is not None and row.interval[0] > 0]
    below = [str(row.dims) for row in rows if row.interval is not None and row.interval[1] < 0]
    parts = [f"{word} at {', '.join(dims)} dims" for word, dims in (("above", above), ("below", below)) if dims]
    return "; ".join(parts) or "not told apart at any prefix"


def _difference_table(rows: Sequence[Row], settings: Settings) -> Table:
    lines = []
    for ours, theirs in PAIRS:
        for metric, words in ((LINEAR, "linear"), (NEIGHBOR, "1-NN")):
            found = {
                row.dims: i
                for i, row in enumerate(rows)
                if (row.system, row.metric) == (f"{ours} - {theirs}", f"{metric}_difference")
            }
            cells = [_cell(rows, found[m]) if m in found else "" for m in settings.nesting]
            if any(cells):
                lines.append([f"{ours} - {theirs}, {words}", *cells])
    title = "differences in points [95 %, families and seeds resampled]"
    return Table(title, ["", *map(str, settings.nesting)], lines, wide=True)


def _difference_picture(rows: Sequence[Row]) -> list[str]:
    """What the accuracies of the first picture are too near one another to show."""
    panels: dict[str, list[plots.Difference]] = {}
    for metric, title in ((LINEAR, "linear top-1"), (NEIGHBOR, "1-NN top-1")):
        for name in (f"{ours} - {theirs}" for ours, theirs in CLOSE):
            found = [row for row in rows if (row.system, row.metric) == (name, f"{metric}_difference") and row.interval]
            if found:
                values = [row.value for row in found], [row.interval for row in found if row.interval]
                panels.setdefault(title, []).append(plots.Difference(name, [row.dims or 0 for row in found], *values))
    return [plots.differences(panels, ylabel="points, 95 % intervals")] if panels else []


def _cell(rows: Sequence[Row], place: int) -> Cell:
    row = rows[place]
    assert row.interval is not None
    low, high = (100 * bound for bound in row.interval)
    return Cell(f"{100 * row.value:+.1f} [{low:+.1f}, {high:+.1f}]", [place])


def _backbones(systems: Systems) -> list[Row]:
    """Multiplications and additions of one image in the backbone: what slimming saves, and nesting does not."""
    found: list[Row] = []
    for seed in systems.settings.once:
        flops = {("MRL", systems.nesting.width): systems.backbone_flops(systems.nested("MRL", seed))}
        flops |= {("slimmable", width): count for width, count in systems.zoo.slimmable(seed).flops.items()}
        found += [
            Row(system=system, metric=_BACKBONE, value=count / 1e6, unit="MFLOPs", n=1, dims=width, seed=seed)
            for (system, width), count in flops.items()
        ]
    return found


def _backbone_table(rows: Sequence[Row]) -> Table:
    lines = [
        [f"{row.system}, {row.dims} features", Cell(f"{row.value:.1f}", [i])]
        for i, row in enumerate(rows)
        if row.metric == _BACKBONE
    ]
    return Table("the backbone, MFLOPs for one image (all prefixes of MRL share one)", ["", "MFLOPs"], lines)
