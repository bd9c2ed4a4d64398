"""Hot loops of nestling.search."""

from typing import Annotated

import numpy
from numpy.typing import NDArray


def add_ring_dots(scores: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], query: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu', writable=False)], gallery: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu', writable=False)], shortlist: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> None:
    """
    Add to scores (q, s) the dot products of query (q, r) with the rows of gallery (n, r) that shortlist
    (q, s) names; -1 marks an empty place. Raises IndexError for a row outside the gallery.
    """
