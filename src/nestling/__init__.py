"""Train, measure and search Matryoshka embeddings: vectors whose every prefix is an embedding.

Names load on first use: ``import nestling`` brings neither torch nor the native module.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nestling import (
        adaptor,
        baselines,
        data,
        errors,
        evaluation,
        integrations,
        losses,
        metrics,
        models,
        search,
        training,
    )
    from nestling.adaptor import MatryoshkaAdaptor
    from nestling.nesting import Nesting, prefix, truncate
    from nestling.search.funnel import funnel
    from nestling.search.index import Index
    from nestling.search.plan import Plan

__version__ = version("nestling")

_HOME = {
    "Nesting": "nestling.nesting",
    "prefix": "nestling.nesting",
    "truncate": "nestling.nesting",
    "Index": "nestling.search.index",
    "MatryoshkaAdaptor": "nestling.adaptor",
    "Plan": "nestling.search.plan",
    "funnel": "nestling.search.funnel",
}
_PACKAGES = (
    "adaptor",
    "baselines",
    "data",
    "errors",
    "evaluation",
    "integrations",
    "losses",
    "metrics",
    "models",
    "search",
    "training",
)

__all__ = [
    "Index",
    "MatryoshkaAdaptor",
    "Nesting",
    "Plan",
    "__version__",
    "adaptor",
    "baselines",
    "data",
    "errors",
    "evaluation",
    "funnel",
    "integrations",
    "losses",
    "metrics",
    "models",
    "prefix",
    "search",
    "training",
    "truncate",
]


def __getattr__(name: str) -> Any:
    home = f"nestling.{name}" if name in _PACKAGES else _HOME.get(name)
    if home is not None:
        module = _imported(home)
        return module if name in _PACKAGES else getattr(module, name)
    raise AttributeError(f"module 'nestling' has no attribute {name!r}")


def _imported(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        from nestling.errors import missing_extra

        raise missing_extra(error) or error from error


def __dir__() -> list[str]:
    return sorted(__all__)
