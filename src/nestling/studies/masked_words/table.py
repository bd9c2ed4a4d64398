"""What the answers come to: rows, the table with the paper's figures, and what is found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from nestling.evaluation import Row
from nestling.metrics import grouped_bootstrap
from nestling.nesting import Nesting
from nestling.studies import plots
from nestling.studies.masked_words.models import Models, Training
from nestling.studies.masked_words.settings import Settings
from nestling.studies.reproduce.section import Cell, Section, Table, by_prefix, lines_of, mean_of, percent
from nestling.studies.texts import METRIC

NESTED, PLAIN, CUT, BEFORE, COMMONEST = "MRL-E", "FF", "FF-{} cut", "before", "the commonest piece"
DIFFERENCE = f"{METRIC}_difference"
_GOAL, _GOAL_DIMS = 0.005, 48
_PAPER_DIMS = (12, 24, 48, 96, 192, 384, 768)
_PAPER: Mapping[str, Sequence[float]] = {  # BERT-base, not checked against the paper's text
    "paper FF": (60.12, 62.49, 63.85, 64.32, 64.70, 65.03, 65.54),
    "paper MRL": (59.92, 62.05, 63.40, 64.15, 64.58, 64.81, 65.00),
}


def measured(models: Models) -> list[Row]:
    """Masked accuracy of every system and seed at every prefix, and the nested model's differences from FF."""
    nesting, seeds, found = models.settings.nesting, models.settings.seeds, list[Row]()
    cut = CUT.format(nesting.width)
    right: dict[str, list[np.ndarray]] = {NESTED: [], PLAIN: [], cut: []}
    for seed in seeds:
        wide = models.answers(Training(Nesting((nesting.width,)), seed)).right
        lines = [models.answers(Training(Nesting((m,)), seed)).right[0] for m in nesting.dims[:-1]]
        right[NESTED].append(models.answers(Training(nesting, seed)).right)
        right[PLAIN].append(np.stack([*lines, wide[-1]]))
        right[cut].append(wide)
        for system, each in right.items():
            found += _rows(system, each[-1], nesting, seed)
    before = models.before()
    found += _rows(BEFORE, before.right, nesting, seeds[0])
    commonest = before.words == models.words.frequencies().argmax()
    found.append(_row(COMMONEST, commonest, None, None))
    for k, m in enumerate(nesting):
        ours, theirs = (np.stack([each[k] for each in right[system]]) for system in (NESTED, PLAIN))
        interval = grouped_bootstrap(ours, theirs, before.rows, seed=0)
        found.append(
            Row(
                system=f"{NESTED} - {PLAIN}",
                metric=DIFFERENCE,
                value=float(ours.mean() - theirs.mean()),
                unit="fraction",
                n=ours.size,
                dims=m,
                interval=interval,
            )
        )
    return found


def section(rows: Sequence[Row], settings: Settings) -> Section:
    """Table, plot and sentences."""
    accuracy = by_prefix("hidden words told, %", rows, METRIC)
    dims = settings.nesting.dims
    paper = [
        [name, *(f"{values[_PAPER_DIMS.index(m)]:.2f}?" if m in _PAPER_DIMS else "" for m in dims)]
        for name, values in _PAPER.items()
    ]
    table = Table(accuracy.title, accuracy.columns, [*accuracy.rows, *paper])
    lines = lines_of(rows, METRIC)
    return Section(
        title="Masked words at every prefix",
        claim="BERT trained nested tells masked words within 0.5 points of a model trained for each width alone (FF).",
        found=list(_sentences(rows, settings)),
        tables=[table, _differences(rows, settings)],
        pictures=[plots.over_dims({"masked words": lines}, ylabel="told, %")],
    )


def _sentences(rows: Sequence[Row], settings: Settings) -> Iterator[str]:
    dims = settings.nesting.dims
    cut = CUT.format(settings.nesting.width)
    for other in (BEFORE, cut):
        gains = {m: mean_of(rows, METRIC, NESTED, m) - mean_of(rows, METRIC, other, m) for m in dims}
        told = ", ".join(f"{100 * gain:+.1f} at {m}" for m, gain in gains.items())
        yield f"{NESTED} minus {other}, points: {told}."
    wide = [m for m in dims if m >= _GOAL_DIMS]
    below = [m for m in wide if mean_of(rows, DIFFERENCE, f"{NESTED} - {PLAIN}", m) < -_GOAL]
    verdict = f"but for {', '.join(map(str, below))}" if below else "at all of them"
    yield f"{NESTED} within 0.5 points of {PLAIN} or above it from {_GOAL_DIMS} dims on: {verdict}."
    place = next(i for i, row in enumerate(rows) if row.system == COMMONEST)
    yield f"Always saying the commonest piece of the training texts is right in {percent(rows[place].value)} %."


def _differences(rows: Sequence[Row], settings: Settings) -> Table:
    places = {row.dims: i for i, row in enumerate(rows) if row.metric == DIFFERENCE}
    cells: list[str] = []
    for m in settings.nesting:
        row = rows[places[m]]
        assert row.interval is not None
        low, high = (100 * bound for bound in row.interval)
        cells.append(Cell(f"{100 * row.value:+.2f} [{low:+.2f}, {high:+.2f}]", [places[m]]))
    title = "difference in points [95 %, rows of the test and seeds resampled]"
    return Table(title, ["", *map(str, settings.nesting)], [[f"{NESTED} - {PLAIN}", *cells]])


def _rows(system: str, right: np.ndarray, nesting: Nesting, seed: int) -> list[Row]:
    return [_row(system, line, m, seed) for m, line in zip(nesting, right, strict=True)]


def _row(system: str, right: np.ndarray, m: int | None, seed: int | None) -> Row:
    return Row(
        system=system, metric=METRIC, value=float(right.mean()), unit="fraction", n=right.size, dims=m, seed=seed
    )
