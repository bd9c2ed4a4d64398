"""Vectors that exist, made nested: a map that is learnt over them. Applying it needs NumPy only, learning it torch."""

from nestling.adaptor.estimator import MatryoshkaAdaptor

__all__ = ["MatryoshkaAdaptor"]
