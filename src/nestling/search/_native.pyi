"""Hot loops of nestling.search."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy
import numpy.typing
from numpy.typing import NDArray


def add_ring_dots(scores: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], query: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu', writable=False)], gallery: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu', writable=False)], shortlist: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> None:
    """
    Add to scores (q, s) the dot products of query (q, r) with the rows of gallery (n, r) that shortlist
    (q, s) names; -1 marks an empty place. Raises IndexError for a row outside the gallery.
    """

class CellFinder:
    """Finds the nearest of some centroids (cells, m) of queries."""

    def __init__(self, centroids: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], unit: bool) -> None:
        """unit: queries' prefixes are divided by their lengths."""

    def find(self, queries: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], count: int, threads: int = 1) -> Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C')]:
        """
        The (q, count) cells with the largest <q, c> - |c|^2 / 2, nearest first (all are compared in 8 bits, the best a
        quarter more and 24 in float32).
        """

def kernels() -> str:
    """The instruction set in use."""

def choose_kernels(name: str) -> bool:
    """
    Use "auto", "plain", "avx2", "avx512" or "neon"; False where this processor has it not.
    """

def store_rings(x: numpy.typing.NDArray[numpy.float32], stops: Sequence[int], half: bool, threads: int = 1) -> tuple[list[numpy.typing.NDArray[Any]], numpy.typing.NDArray[numpy.float32], int]:
    """
    Rings of x (b, d): a list of (b, r_k) arrays, float32 or the bits of float16; the squared norms (K, b) of the
    stored prefixes; and the first row that is not finite when stored, or -1.
    """

def encode_sketch(x: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], params: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], bits: int, scale_unit: float = 1.0, threads: int = 1) -> tuple[Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C')], Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C')], Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C')]]:
    """
    Codes (blocks, bytes), scales (positions) in steps of scale_unit (empty for 8 bits) and |x - x^| (b) of x (b, m);
    params (2, m) are the centers and the steps.
    """

def encode_copy(rings: Sequence[numpy.typing.NDArray[Any]], stride: int, threads: int = 1) -> tuple[numpy.typing.NDArray[numpy.uint8], numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float64]]:
    """
    Rings [(b, r), ...] (float32, or bits of float16) as bytes (b, stride) around 128, one scale a row (b), and the
    squared errors (b).
    """

def sketch_bytes(m: int, bits: int) -> int:
    """Bytes of one position's codes."""

class Snapshot:
    """
    An open index as the kernels see it; it keeps the arrays that it was given.
    """

    def __init__(self, stops: Sequence[int], metric: int, half: bool) -> None:
        """
        metric: 0 cosine, 1 inner product, 2 squared distance; half: rings are bits of float16, else float32.
        """

    def add_segment(self, rings: Sequence[numpy.typing.NDArray[Any]], norms: Sequence[numpy.typing.NDArray[numpy.float32]], ids: numpy.typing.NDArray[numpy.int64] | None, offsets: numpy.typing.NDArray[numpy.uint64] | None, text: numpy.typing.NDArray[numpy.uint8] | None, order: numpy.typing.NDArray[numpy.uint32] | None, cells: numpy.typing.NDArray[numpy.uint64] | None, live: numpy.typing.NDArray[numpy.uint8] | None) -> int:
        """Add rows; returns the number of the segment."""

    def add_sketch(self, segment: int, bits: int, params: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], limits: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], codes: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu', writable=False)], scales: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, bias: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, shares: Annotated[NDArray[numpy.uint16], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, tails: Annotated[NDArray[numpy.uint16], dict(shape=(None,), order='C', device='cpu', writable=False)] | None) -> None:
        """Load a sketch of a segment into memory."""

    def add_copy(self, segment: int, start: int, stop: int, codes: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu', writable=False)], meta: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> None:
        """Add an int8 copy of the dims [start, stop)."""

    def search(self, queries: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], plan: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)], cells: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None, among: Sequence[Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]] | None, threads: int = 1) -> tuple[Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C')], Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')]]:
        """
        Rows (q, k) of the snapshot and scores (q, k); -1 and NaN where nothing was found. plan: (stages, 3) dims,
        bits (0 = stored), keep. Raises ValueError("query i") for one that is not finite.
        """

    def exact(self, queries: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], k: int, guess: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None, m: int, among: Sequence[Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]] | None, threads: int = 1) -> tuple[Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C')], Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C')], Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C')]]:
        """
        The true k best: rows, scores, and (q, 3) numbers of rows bounded, compared by copies and compared in full.
        guess: rows (q, g) that a plan found; m: the 8-bit sketch that bounds, 0 for none.
        """

    @property
    def resident(self) -> int:
        """Bytes copied into memory."""

    @property
    def rows(self) -> int:
        """Rows, dead ones included."""
