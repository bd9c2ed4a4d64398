"""What the engine computes from stored rows: sketches, int8 copies, and the cells of a partition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.search.derived.cells import CELLS, Cells, KMeans, partition_sections
from nestling.search.derived.copies import Copies
from nestling.search.derived.sketch import Sketch
from nestling.search.storage.derived import Derived, Partition

__all__ = ["CELLS", "Cells", "Copies", "KMeans", "Sketch", "joined", "parse", "partition_sections"]


def parse(name: str, *, nesting: Nesting, metric: str, partition: Partition | None) -> Derived:
    """The derived part of a name: ``sketch-16@8``, ``copy-64,2048`` or ``cells``.

    Raises:
        InputError: the name is unknown or does not fit the nesting, or cells are asked for without a partition.
    """
    kind, _, rest = name.partition("-")
    try:
        if kind == "sketch":
            m, bits = map(int, rest.split("@"))
            return Sketch(m, bits, nesting=nesting, metric=metric, in_cells=partition is not None)
        if kind == "copy":
            return Copies(tuple(map(int, rest.split(","))), nesting=nesting)
    except ValueError as error:
        raise InputError.of("a derived part", "sketch-DIMS@BITS or copy-DIM,DIM", repr(name)) from error
    if name == CELLS and partition is not None:
        return Cells(KMeans(partition.arrays["centroids"], metric=metric))
    raise InputError.of("a derived part", "sketch-DIMS@BITS, copy-DIM,DIM, or cells of a partition", repr(name))


def joined(names: Sequence[str], have: Iterable[Derived], nesting: Nesting) -> tuple[list[str], list[str]]:
    """The names with one copy for all copies among them and among the parts there are, and the parts that it replaces:
    an index searches one copy.

    Raises:
        InputError: a name of a copy that does not fit the nesting.
    """
    others = [part for part in have if isinstance(part, Copies)]
    wanted = [name for name in names if not name.startswith("copy-")]
    asked = [parse(name, nesting=nesting, metric="", partition=None) for name in names if name.startswith("copy-")]
    if not asked:
        return wanted, []
    stops = {stop for part in (*asked, *others) if isinstance(part, Copies) for stop in part.stops}
    name = Copies(tuple(sorted(stops)), nesting=nesting).name
    return [*wanted, name], [part.name for part in others if part.name != name]
