"""Few examples a class: the nearest class mean (paper: §4.4.1, Table 15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nestling.evaluation import FewShot, Row, dump_rows, load_rows
from nestling.studies.reproduce.recipe import Training
from nestling.studies.reproduce.section import Section, by_prefix, mean_of
from nestling.studies.reproduce.settings import Settings
from nestling.studies.reproduce.systems import Block, Systems

_SHOTS = (1, 3, 5, 10)
_JUDGED = (
    "Agrees, and more: with one example a class 32 dims of MRL do better than 256, and far better than FF-256 "
    "(65.4 against 52.0 %). We think that a wide plain model spreads what tells classes apart over directions "
    "which a mean of few examples cannot tell from chance; MRL's first dims must hold it."
)


def trainings(systems: Systems) -> list[Training]:
    """The nested and the plain models; one seed."""
    seeds = systems.settings.once
    return [*systems.nested_trainings(seeds), *systems.plain_trainings(seeds)]


def rows(systems: Systems) -> list[Row]:
    """Top-1 of the nearest class mean of 1, 3, 5 and 10 drawn examples."""
    return [row for seed in systems.settings.once for row in _of(systems, seed)]


def section(rows: Sequence[Row], settings: Settings) -> Section:
    """A table for each number of shots."""
    found = []
    for shots in _SHOTS:
        ours = {m: mean_of(rows, f"{shots}shot_top1", "MRL", m) for m in settings.nesting}
        best = max(ours, key=lambda m: ours[m])
        found.append(f"{shots} shots: MRL is best at {best} dims ({100 * ours[best]:.2f} %)")
    return Section(
        title="Few examples of a class",
        claim="The nearest class mean needs few dims: 32 of MRL do as well as 2,048 with one example a class.",
        judged=_JUDGED,
        found=found,
        tables=[by_prefix(f"{shots} examples a class, top-1 %", rows, f"{shots}shot_top1") for shots in _SHOTS],
    )


def _of(systems: Systems, seed: int) -> list[Row]:
    by = FewShot(_SHOTS, systems.settings.few_shot_draws)

    def measured(block: Block) -> str:
        with systems.zoo.watch.task(f"few shots of {block.system}"):
            return dump_rows(by.rows(systems.vectors(block), seed=seed, system=block.system))

    found: list[Row] = []
    blocks = [systems.nested("MRL", seed), systems.nested("MRL-E", seed)]
    blocks += [systems.plain(m, seed) for m in systems.nesting]
    for block in blocks:
        name = f"few-shot-{by.draws}-{block.nesting}"
        found += load_rows(systems.zoo.text(block.key, name, lambda block=block: measured(block)))
    return [replace(row, seed=seed) for row in found]
