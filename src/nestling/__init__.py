"""Train, measure and search Matryoshka embeddings: vectors whose every prefix is an embedding.

Names load on first use: ``import nestling`` brings neither torch nor the native module.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nestling import baselines, data, errors, evaluation, losses, metrics, models, search, training
    from nestling.nesting import Nesting, prefix, truncate
    from nestling.search.funnel import funnel
    from nestling.search.plan import Plan

__version__ = version("nestling")

_HOME = {
    "Nesting": "nestling.nesting",
    "prefix": "nestling.nesting",
    "truncate": "nestling.nesting",
    "Plan": "nestling.search.plan",
    "funnel": "nestling.search.funnel",
}
_PACKAGES = ("baselines", "data", "errors", "evaluation", "losses", "metrics", "models", "search", "training")

__all__ = [
    "Nesting",
    "Plan",
    "__version__",
    "baselines",
    "data",
    "errors",
    "evaluation",
    "funnel",
    "losses",
    "metrics",
    "models",
    "prefix",
    "search",
    "training",
    "truncate",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"nestling.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'nestling' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
