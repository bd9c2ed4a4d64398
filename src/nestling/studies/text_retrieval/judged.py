"""What a map is worth on a task: whether each query finds what it asks for, by each prefix."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from nestling.metrics import ndcg_at_k
from nestling.search import exact
from nestling.studies.reproduce.kept import about, complete, read_array, write_arrays
from nestling.studies.text_retrieval.settings import Settings
from nestling.studies.text_retrieval.systems import System, systems
from nestling.studies.text_retrieval.tasks import Task
from nestling.studies.watch import Watch

K = 10
FIRST = {"pairs": "recall@1", "labels": "1-NN"}
RECALL, NDCG = "recall@10", "nDCG@10"
_COMPARED = 1000  # queries and gallery items whose cosines are compared at full width


@dataclass(frozen=True, eq=False)
class Judged:
    """One system of one seed.

    Attributes:
        values: metric → (K, q), a number for each prefix and query.
        change: the largest change of a cosine at full width.
    """

    system: str
    seed: int | None
    values: Mapping[str, Float32[np.ndarray, "K q"]]
    change: float


def metrics_of(task: Task) -> tuple[str, ...]:
    """The first place, what ten places hold, and nDCG@10; of classes ten places hold what they hold."""
    first = FIRST[task.supervision]
    return (first, RECALL, NDCG) if task.supervision == "pairs" else (first, NDCG)


def judged(task: Task, settings: Settings, folder: Path, watch: Watch) -> list[Judged]:
    """All systems; what was judged before is read.

    Raises:
        CheckpointError: what is kept is damaged.
    """
    found = list[Judged]()
    with watch.task(f"measure {task.name}") as step:
        for done, system in enumerate(systems(task, settings, folder, watch)):
            step(done, 3 + 4 * len(settings.seeds), system.name)
            found.append(_judged(task, system, settings, folder))
    return found


def _judged(task: Task, system: System, settings: Settings, folder: Path) -> Judged:
    learnt = f"{task.digest} {system.name} {system.seed} {settings.steps}"
    place = folder / f"judged-{hashlib.sha256(learnt.encode()).hexdigest()[:12]}"
    names = metrics_of(task)
    if not complete(place):
        queries, gallery = system.apply(task.queries), system.apply(task.gallery)
        lines = list(_values(task, queries, gallery))
        arrays = {str(i): np.stack([line[i] for line in lines]) for i in range(len(names))}
        change = _change(task, queries, gallery)
        write_arrays(place, {**arrays, "change": np.array([change], np.float64)})
    about(place)
    values = {name: np.array(read_array(place, str(i))) for i, name in enumerate(names)}
    return Judged(system.name, system.seed, values, float(read_array(place, "change")[0]))


def _values(task: Task, queries: np.ndarray, gallery: np.ndarray) -> Iterator[list[np.ndarray]]:
    classes, places = np.unique(task.gallery_labels, return_inverse=True)
    counts = np.bincount(places, minlength=len(classes))
    at = np.minimum(np.searchsorted(classes, task.query_labels), len(classes) - 1)
    totals = np.where(classes[at] == task.query_labels, counts[at], 0)
    for m in task.nesting:
        found = exact(gallery, queries, K, m=m).ids
        right = task.gallery_labels[found] == task.query_labels[:, None]
        lines = [right[:, 0], right.any(axis=1), np.nan_to_num(ndcg_at_k(right, totals))]
        yield [line.astype(np.float32) for line in (lines if task.supervision == "pairs" else lines[::2])]


def _change(task: Task, queries: np.ndarray, gallery: np.ndarray) -> float:
    def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = (x[:_COMPARED].astype(np.float64) for x in (a, b))
        return (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T

    return float(np.abs(cosines(queries, gallery) - cosines(task.queries, task.gallery)).max())
