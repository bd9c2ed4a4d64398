"""The maps that are compared: none, principal components, chance, and what an adaptor learns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from nestling.adaptor import MatryoshkaAdaptor
from nestling.principal import principal_directions
from nestling.studies.text_retrieval.settings import Settings
from nestling.studies.text_retrieval.tasks import Task
from nestling.studies.watch import Watch
from nestling.training.lock import waiting

PLAIN, PCA, CENTRED, RANDOM = "plain cut", "PCA", "PCA, centred", "random rotation"
ALONE = "rotation, vectors alone"
SUPERVISED, RESIDUAL = "rotation, {}", "residual, {}"
_VERSION = 1  # of how adaptors learn: what another way learnt is not read


@dataclass(frozen=True, slots=True)
class System:
    """A map of vectors.

    Attributes:
        name: of its row. seed: of what it draws; None where it draws nothing.
        apply: (n, d) → (n, d).
    """

    name: str
    seed: int | None
    apply: Callable[[np.ndarray], Float32[np.ndarray, "n d"]]


def systems(task: Task, settings: Settings, folder: Path, watch: Watch) -> Iterator[System]:
    """Each when its turn comes; adaptors are learnt, or read from the folder.

    Raises:
        CheckpointError: a kept adaptor is damaged.
    """
    both = task.learnt if task.partners is None else np.concatenate([task.learnt, task.partners])
    yield System(PLAIN, None, _floats)
    mean = both.mean(axis=0, dtype=np.float64)
    yield System(PCA, None, _turned(principal_directions(both)))
    yield System(CENTRED, None, _turned(principal_directions(both, mean), mean))
    for seed in settings.seeds:
        drawn = np.random.default_rng(seed).standard_normal((task.nesting.width,) * 2)
        yield System(RANDOM, seed, _turned(np.linalg.qr(drawn)[0]))
    for name, kind, supervised in (
        (ALONE, "rotation", False),
        (SUPERVISED.format(task.supervision), "rotation", True),
        (RESIDUAL.format(task.supervision), "residual", True),
    ):
        for seed in settings.seeds:
            adaptor = _learnt(task, kind, supervised, seed, settings, folder, watch)
            yield System(name, seed, adaptor.transform)


def _learnt(
    task: Task, kind: str, supervised: bool, seed: int, settings: Settings, folder: Path, watch: Watch
) -> MatryoshkaAdaptor:
    decides = [_VERSION, task.digest, kind, supervised, seed, settings.steps]
    place = folder / f"adaptor-{hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:12]}"
    with waiting(place, watch.say):
        if (place / "adaptor").exists():
            return MatryoshkaAdaptor.load(place / "adaptor")
        what = f"{kind} from {task.supervision if supervised else 'vectors'}, {task.name}, seed {seed}"
        with watch.task(what) as step:
            made = MatryoshkaAdaptor(
                kind, nesting=task.nesting.dims, steps=settings.steps, random_state=seed, progress=step
            )
            if not supervised:
                both = task.learnt if task.partners is None else np.concatenate([task.learnt, task.partners])
                made.fit(both)
            elif task.partners is None:
                made.fit(task.learnt, task.labels)
            else:
                made.fit_pairs(task.learnt, task.partners)
        made.save(place / "adaptor")
    return made


def _turned(basis: np.ndarray, mean: np.ndarray | None = None) -> Callable[[np.ndarray], Float32[np.ndarray, "n d"]]:
    matrix = basis.astype(np.float32)
    off = None if mean is None else mean.astype(np.float32)
    return lambda x: _floats(x if off is None else x - off) @ matrix


def _floats(x: np.ndarray) -> Float32[np.ndarray, "n d"]:
    return np.ascontiguousarray(x, np.float32)
