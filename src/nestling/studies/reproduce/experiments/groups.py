"""Rare classes, and coarse ones (paper: §4.4.2 and §5.1, Figures 9 and 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nestling.errors import InputError
from nestling.evaluation import Neighbor, Row, by_frequency, coarse_rows, group_rows, superclasses
from nestling.evaluation.base import correct_rows
from nestling.studies.reproduce.recipe import Training
from nestling.studies.reproduce.section import Cell, Section, Table, by_prefix, mean_of, percent, told
from nestling.studies.reproduce.settings import Settings
from nestling.studies.reproduce.systems import NEIGHBOR, NESTED, PROBE, Block, Systems

_COARSE = "superclass_top1"
_THIRDS = ("head", "middle", "tail")
_JUDGED = (
    "Agrees: 8 dims know nearly as many coarse classes as 256, and fewer fine ones; rare classes gain most from "
    "more dims (12.5 points, frequent ones 5). FF of the same width behaves alike: it is the width that is "
    "coarse, not the nesting."
)


def trainings(systems: Systems) -> list[Training]:
    """The nested and the plain models."""
    seeds = systems.settings.seeds
    return [*systems.nested_trainings(seeds), *systems.plain_trainings(seeds)]


def rows(systems: Systems) -> list[Row]:
    """Accuracy by thirds of the classes, and how often the coarse class is right."""
    found: list[Row] = []
    for seed in systems.settings.seeds:
        blocks = [systems.nested(system, seed) for system in NESTED]
        for block in (*blocks, *(systems.plain(m, seed) for m in systems.nesting)):
            found += [replace(row, seed=seed) for row in _of(block, systems)]
    return found


def section(rows: Sequence[Row], settings: Settings) -> Section:
    """Thirds, the coarse accuracy beside the fine, and how each coarse class gains with more dims."""
    tables = [
        by_prefix(f"1-NN top-1 of the {third} third of the classes, %", rows, f"{NEIGHBOR}_third", group=third)
        for third in _THIRDS
    ]
    if any(row.metric == _COARSE for row in rows):
        tables += [by_prefix("coarse class of the probe's answer right, %", rows, _COARSE), _gains(rows, settings)]
    return Section(
        title="Rare classes and coarse classes",
        claim="Short prefixes hold the coarse information first: the superclass is known at 8 dims already (85.57 % of "
        "90.21 % at 2,048 in the paper), and finer classes come with more dims. Rare classes gain most from more dims.",
        judged=_JUDGED,
        found=_sentences(rows, settings),
        tables=tables,
    )


def _of(block: Block, systems: Systems) -> list[Row]:
    labels = systems.images.test.labels
    found: list[Row] = []
    right = systems.predict(block, Neighbor())["test"] == labels
    if len(systems.images.classes) >= 3:
        thirds = by_frequency(systems.images.train.labels, labels)
        found += group_rows(right, thirds, block.nesting, metric=f"{NEIGHBOR}_third", system=block.system)
    try:
        coarse = superclasses(systems.images.classes)
    except InputError:  # names that share no words have no coarse classes
        return found
    predicted = systems.probe(block)["test"]
    found += correct_rows(predicted == labels, block.nesting, metric=PROBE, system=block.system)
    return found + coarse_rows(predicted, labels, coarse, block.nesting, system=block.system)


def _gains(rows: Sequence[Row], settings: Settings) -> Table:
    """For each coarse class how often MRL names it at the shortest prefix and at full width, by what it gains."""
    short, wide = settings.nesting.dims[0], settings.nesting.width
    names = sorted({row.group for row in rows if row.metric == _COARSE and row.group is not None})
    values = {name: tuple(mean_of(rows, _COARSE, "MRL", m, name) for m in (short, wide)) for name in names}
    ordered = sorted(names, key=lambda name: values[name][0] - values[name][1])

    def cell(name: str, m: int) -> Cell:
        text = percent(values[name][m == wide], 1)
        return told(rows, text, metric=_COARSE, system="MRL", dims=m, group=name)

    lines = [
        [name, cell(name, short), cell(name, wide), percent(values[name][1] - values[name][0], 1)] for name in ordered
    ]
    return Table("Coarse classes by what more dims give them (MRL), %", ["", str(short), str(wide), "gain"], lines)


def _sentences(rows: Sequence[Row], settings: Settings) -> list[str]:
    short, wide = settings.nesting.dims[0], settings.nesting.width
    found: list[str] = []
    kept = {
        metric: mean_of(rows, metric, "MRL", short) / mean_of(rows, metric, "MRL", wide) for metric in (_COARSE, PROBE)
    }
    if kept[_COARSE] == kept[_COARSE]:
        found.append(
            f"At {short} dims MRL keeps {100 * kept[_COARSE]:.1f} % of the coarse accuracy of {wide} dims, and "
            f"{100 * kept[PROBE]:.1f} % of the fine one: the information comes "
            f"{'coarse first' if kept[_COARSE] > kept[PROBE] else 'fine and coarse alike'}."
        )
    for third in _THIRDS:
        low, high = (mean_of(rows, f"{NEIGHBOR}_third", "MRL", m, third) for m in (short, wide))
        found.append(f"{third} third of the classes: 1-NN {percent(low, 1)} % at {short}, {percent(high, 1)} at {wide}")
    return found
