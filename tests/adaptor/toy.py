"""Vectors whose meaning lies in directions that neither the first numbers nor the largest variances show."""

from __future__ import annotations

from typing import Any

import numpy as np

from nestling import MatryoshkaAdaptor

WIDTH, DIMS = 24, (2, 4, 8, 24)


def vectors(n: int = 500, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 24) queries, their partners, and classes: four dims of meaning under louder ones that pairs do not share."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(99).normal(size=(WIDTH, WIDTH)))[0]
    classes = rng.integers(0, 6, n)
    meaning = np.random.default_rng(98).normal(size=(6, 4))[classes] + 0.35 * rng.normal(size=(n, 4))

    def side() -> np.ndarray:
        noise = rng.normal(size=(n, WIDTH - 4)) * np.linspace(1.4, 0.1, WIDTH - 4)
        return (np.concatenate([noise, meaning], axis=1) @ turn).astype(np.float32)

    return side(), side(), classes


def adaptor(kind: str = "rotation", **changes: Any) -> MatryoshkaAdaptor:
    settings: dict[str, Any] = {
        **{"nesting": DIMS, "steps": 40, "batch_size": 128, "temperature": 0.2, "random_state": 0},
        **({"learning_rate": 5e-2} if kind == "rotation" else {"learning_rate": 2e-3}),
        **changes,
    }
    return MatryoshkaAdaptor(kind, **settings)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def recall(a: np.ndarray, b: np.ndarray, m: int) -> float:
    """How often a row's partner is its nearest at a prefix."""
    return float(((unit(a[:, :m]) @ unit(b[:, :m]).T).argmax(1) == np.arange(len(a))).mean())


def one_nn(gallery: np.ndarray, labels: np.ndarray, queries: np.ndarray, wanted: np.ndarray, m: int) -> float:
    return float((labels[(unit(queries[:, :m]) @ unit(gallery[:, :m]).T).argmax(1)] == wanted).mean())
