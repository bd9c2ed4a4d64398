"""What vectors that exist are worth, dim by dim and bit by bit. Command: ``nestling check``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nestling.data import load_vectors
from nestling.data.vectors import check_finite
from nestling.errors import InputError, require_extra
from nestling.evaluation.prefixes import NESTED, PLAIN, PRINCIPAL, Prefixes, compare_prefixes
from nestling.files import write_file
from nestling.metrics import neighbor_recall
from nestling.nesting import Nesting
from nestling.search import exact
from nestling.search.index import Index
from nestling.search.tuning.questions import interval
from nestling.studies.plots import curves
from nestling.studies.units import in_bytes
from nestling.studies.watch import Watch

K = 10
_QUERIES = 1000
KEPT = 100  # of a code's shortlist that full vectors then rank
_COMPARED, _ASKED = 8000, 300  # gallery and queries of the look at the prefixes
FEWEST = 500  # vectors
_UNIT = 1e-3
_BITS = (1, 2, 4, 8)
_WORTH = 0.95  # of the true neighbours, for the shortest code that is recommended


@dataclass(frozen=True, slots=True)
class Code:
    """A prefix at some bits a dim, and what it finds.

    Attributes:
        dims, bits: bits is 16 for the prefix as it is stored.
        bytes: of a vector in memory, its scale with it.
        alone: the part of the true ten that the code alone ranks among its first ten, with its 95 % interval.
        reranked: the part that it ranks among its first hundred: what full vectors, ranking those, find.
        best: whether no code of as few bytes finds more after reranking.
    """

    dims: int
    bits: int
    bytes: float
    alone: tuple[float, float, float]
    reranked: tuple[float, float, float]
    best: bool = False


@dataclass(frozen=True, slots=True)
class Norms:
    """Smallest, middle and largest norm of the sampled vectors, and how many are zero."""

    smallest: float
    middle: float
    largest: float
    zero: int

    @property
    def unit(self) -> bool:
        """Whether all are one."""
        return max(abs(self.smallest - 1), abs(self.largest - 1)) <= _UNIT


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """What `check_vectors` found.

    Attributes:
        n, d, dtype: of the file; sampled: how many of its vectors were looked at; gallery: how many were searched.
        own_queries: whether vectors of the file stood in for queries, which flatters every figure.
        count: the number of vectors that costs are told for.
        signs: prefixes at one bit, the signs of queries compared with the signs of vectors, as databases do; where
            asked for.
    """

    n: int
    d: int
    dtype: str
    sampled: int
    gallery: int
    own_queries: bool
    count: int
    norms: Norms
    prefixes: Prefixes
    codes: Sequence[Code]
    signs: Sequence[Code] = ()

    @property
    def recommended(self) -> Code | None:
        """The fewest bytes that find 95 % of the true neighbours after reranking."""
        return shortest(code for code in self.codes if code.best)

    def to_json(self) -> dict[str, Any]:
        """Of numbers, texts and lists."""
        p = self.prefixes
        kept = {name: getattr(p, name).mean(axis=1).tolist() for name in ("cut", "random", "principal")}
        best = self.recommended
        return {
            **{name: getattr(self, name) for name in ("n", "d", "dtype", "sampled", "gallery", "own_queries", "count")},
            "norms": asdict(self.norms) | {"unit": self.norms.unit},
            "prefixes": {"dims": p.nesting.dims, **kept, "diagonal": p.diagonal, "falling": p.falling},
            "verdict": p.verdict,
            "codes": [asdict(code) for code in self.codes],
            "recommended": None if best is None else {"dims": best.dims, "bits": best.bits, "bytes": best.bytes},
        }


def shortest(codes: Iterable[Code]) -> Code | None:
    """The one of fewest bytes among those that find 95 % of the true neighbours after reranking."""
    enough = (code for code in codes if code.reranked[0] >= _WORTH)
    return min(enough, key=lambda code: code.bytes, default=None)


def check_vectors(
    path: Path,
    *,
    queries: Path | None = None,
    sample: int = 200_000,
    count: int | None = None,
    seed: int = 0,
    plot: Path | None = None,
    watch: Watch,
) -> Checked:
    """Look at the vectors of a file, or at a sample of them.

    Args:
        path: as of `load_vectors`.
        queries: a file of vectors like those that will be searched for; None sets 1,000 of the sample apart.
        sample: how many vectors are read.
        count: the number of vectors to tell costs for; None is the file's.
        plot: a picture to write, .svg.

    Raises:
        DataError, InputError: files or options that do not fit, fewer than 500 vectors, fewer than 16 dims.
        MissingExtraError: a picture without matplotlib.
    """
    if plot is not None:
        require_extra("matplotlib")
        if plot.suffix.lower() != ".svg":
            raise InputError.of("--plot", "a file ending in .svg", repr(str(plot)))
    array = load_vectors(path, finite=False)
    asked = None if queries is None else np.asarray(load_vectors(queries), np.float32)
    return check_array(array, asked, name=str(path), sample=sample, count=count, seed=seed, plot=plot, watch=watch)


def check_array(
    array: np.ndarray,
    asked: np.ndarray | None,
    *,
    name: str,
    sample: int = 200_000,
    count: int | None = None,
    seed: int = 0,
    plot: Path | None = None,
    signs: bool = False,
    watch: Watch,
) -> Checked:
    """The same for vectors at hand.

    Args:
        array: (n, d); asked: (q, d) queries, or None.
        name: what sentences call the vectors.
        signs: measure signs against signs too.
    """
    n, d = array.shape
    if n < FEWEST or d < 16:
        raise InputError.of("vectors", f"at least {FEWEST} of at least 16 dims", f"{n} of {d} in {name}")
    if asked is not None and asked.shape[1] != d:
        raise InputError.of("queries", f"of {d} dims, as the vectors", f"{asked.shape[1]}")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(n)[: min(n, max(sample, FEWEST))]
    with watch.task("read"):
        taken = np.asarray(array[np.sort(rows)], np.float32)
        check_finite(taken, name)
    apart = rng.permutation(len(taken))
    own = asked is None
    if asked is None:
        at = min(_QUERIES, len(taken) // 5)
        asked, gallery = taken[apart[:at]], taken[apart[at:]]
    else:
        asked, gallery = asked[rng.permutation(len(asked))[:_QUERIES]], taken
    nesting = Nesting.doubling(d, smallest=8)
    with watch.task("prefixes") as step:
        prefixes = compare_prefixes(gallery[:_COMPARED], asked[:_ASKED], nesting, k=K, seed=seed, progress=step)
    with watch.task("dims × bits") as step:
        codes, compared = _codes(gallery, asked, nesting, signs, step)
    lengths = np.linalg.norm(taken, axis=1)
    norms = Norms(float(lengths.min()), float(np.median(lengths)), float(lengths.max()), int((lengths == 0).sum()))
    sizes = n, d, str(array.dtype), len(taken), len(gallery)
    found = Checked(*sizes, own, count or n, norms, prefixes, codes, compared)
    if plot is not None:
        write_file(plot, _picture(found))
    return found


def sentences(found: Checked) -> list[str]:
    """What a person should know."""
    norms, p = found.norms, found.prefixes
    told = [f"{found.n:,} vectors of {found.d} dims, {found.dtype}; {found.sampled:,} of them looked at."]
    if norms.unit:
        told.append("All are of length one: cosine and inner product rank alike.")
    else:
        zero = f"; {norms.zero:,} are zero and will never be found by cosine" if norms.zero else ""
        told.append(
            f"Not of length one: {norms.smallest:.3g} to {norms.largest:.3g}, middle {norms.middle:.3g}{zero}. "
            "Search by cosine, or normalise."
        )
    half = max(i for i, m in enumerate(p.nesting) if m <= max(found.d // 4, p.nesting.dims[0]))
    cut, drawn, best = (100 * float(v[half].mean()) for v in (p.cut, p.random, p.principal))
    kept = (
        f"the first {p.nesting.dims[half]} dims keep {cut:.0f} % of the {K} nearest, as many at random {drawn:.0f} %, "
        f"principal components {best:.0f} %"
    )
    meaning = {
        NESTED: "They look nested",
        PRINCIPAL: "They look like principal components: in order, but not trained so",
        PLAIN: "They do not look nested; cutting them throws away what any dims would. Rotate them first",
    }
    told.append(f"{meaning[p.verdict]}: {kept}.")
    told.append(_advice(found))
    if found.own_queries:
        told.append(
            "Vectors of the file stood in for queries; real ones lie farther off, and find less. --queries tells."
        )
    return told


def _advice(found: Checked) -> str:
    best = found.recommended
    if best is None:
        return f"No code here finds {100 * _WORTH:.0f} % of the {K} nearest among {KEPT}: keep the full vectors."
    short, full = in_bytes(best.bytes * found.count), in_bytes(4.0 * found.d * found.count)
    more = f" Measured among {found.gallery:,}; of more vectors more candidates are needed (`nestling tune`)."
    return (
        f"Worth using: {best.dims} dims at {best.bits} bit{'s' * (best.bits > 1)}. {KEPT} candidates by "
        f"{best.bytes:.0f} bytes each, ranked by full vectors, hold {100 * best.reranked[0]:.1f} % of the true {K}: "
        f"{short} in memory for {found.count:,} vectors instead of {full}.{more * (found.count > found.gallery)}"
    )


def table(found: Checked, *, everything: bool = False) -> list[list[str]]:
    """A line for each code that no other of as few bytes beats, or for every one; fewest bytes first."""

    def mark(code: Code) -> str:
        return "  ←" if code is found.recommended else " *" if code.best and everything else ""

    return [
        [
            f"{code.dims} × {code.bits}{mark(code)}",
            f"{code.bytes:.0f}",
            in_bytes(code.bytes * found.count),
            *(
                f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
                for mean, low, high in (code.alone, code.reranked)
            ),
        ]
        for code in sorted(found.codes, key=lambda code: (code.bytes, -code.reranked[0]))
        if code.best or everything
    ]


def _codes(
    gallery: np.ndarray, asked: np.ndarray, nesting: Nesting, signs: bool, step: Any
) -> tuple[list[Code], list[Code]]:
    """Every prefix at every number of bits, measured in an index of the gallery that goes again; and by signs."""
    kinds = [(m, bits) for m in nesting for bits in (*_BITS, 16)]
    measured: list[Code] = []
    with (
        tempfile.TemporaryDirectory(prefix="nestling-check-") as folder,
        Index.create(Path(folder) / "index", nesting) as index,
    ):
        index.add(gallery)
        true = index.search(asked, K, exact=True).ids
        for done, (m, bits) in enumerate(kinds):
            step(done, len(kinds), f"{m} × {bits}")
            measured += _measured(index, asked, true, m, bits)
    return list(_marked(measured)), list(_marked(_compared(gallery, asked, true, nesting) if signs else ()))


def _compared(gallery: np.ndarray, asked: np.ndarray, true: np.ndarray, nesting: Nesting) -> Iterator[Code]:
    """Signs against signs: the products of ±1 are in the order of Hamming distances."""
    ours, theirs = (np.where(side > 0, np.float32(1), np.float32(-1)) for side in (gallery, asked))
    for m in nesting:
        found = exact(ours, theirs, min(KEPT, len(ours)), m=m, metric="ip").ids
        yield _code(m, 1, np.ceil(m / 8), found, true)


def _measured(index: Index, asked: np.ndarray, true: np.ndarray, m: int, bits: int) -> Iterator[Code]:
    keep = min(KEPT, len(index))
    if bits == 16:
        plan, size = f"{m}:{keep}", 2.0 * m
    else:
        try:
            index.derive(f"sketch-{m}@{bits}")
        except InputError:  # wider than the kernels sum at so many bits
            return
        plan, size = f"{m}@{bits}:{keep}", np.ceil(m * bits / 8) + (bits < 8)
    found = index.search(asked, plan=plan).ids
    if bits != 16:
        index.drop(f"sketch-{m}@{bits}")
    yield _code(m, bits, size, found, true)


def _code(m: int, bits: int, size: float, found: np.ndarray, true: np.ndarray) -> Code:
    alone, reranked = (interval(neighbor_recall(ids, true)) for ids in (found[:, :K], found))
    return Code(m, bits, float(size), alone, reranked)


def _marked(codes: Iterable[Code]) -> Iterator[Code]:
    most = -1.0
    for code in sorted(codes, key=lambda code: (code.bytes, -code.reranked[0])):
        best = code.reranked[0] > most
        most = max(most, code.reranked[0])
        yield Code(code.dims, code.bits, code.bytes, code.alone, code.reranked, best)


def _picture(found: Checked) -> bytes:
    lines = {
        f"{bits} bits" if bits != 16 else "as stored": [
            (code.bytes, 100 * code.reranked[0])
            for code in sorted(found.codes, key=lambda c: c.dims)
            if code.bits == bits
        ]
        for bits in (*_BITS, 16)
    }
    ylabel = f"true {K} among {KEPT}, %"
    return curves({name: line for name, line in lines.items() if line}, xlabel="bytes a vector", ylabel=ylabel).encode()
