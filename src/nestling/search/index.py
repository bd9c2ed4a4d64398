"""An index: vectors and ids in a folder, searched by their prefixes."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, cast, get_args

import numpy as np

from nestling.errors import DataError, InputError
from nestling.nesting import Nesting
from nestling.search.derived import CELLS, joined
from nestling.search.engine import checked_k, checked_queries, default_threads, engine_of, nothing, stored_of
from nestling.search.exact import Metric
from nestling.search.hits import Hits
from nestling.search.partitioning import comparisons, fitted_cells
from nestling.search.plan import Plan, Stored
from nestling.search.storage import parts, writer
from nestling.search.storage.derived import NoDerived, Registry
from nestling.search.storage.manifest import MANIFEST
from nestling.search.storage.snapshot import Snapshot, open_snapshot
from nestling.search.storage.transaction import Progress, newest
from nestling.search.storage.usage import described
from nestling.search.tuner import Measure, Tuned, Wish
from nestling.search.tuner import tune as tuned_index

Dtype = Literal["float16", "float32"]
IdKind = Literal["int64", "string"]
P = ParamSpec("P")


class Index:
    """Vectors and their ids in a folder: durable, changed by one writer at a time, read by any number.

    An open index shows the state of its last `open`, `refresh` or write, whatever other processes do meanwhile.
    Each write moves to the newest state first. All methods may be called from several threads.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, snapshot: Snapshot, registry: Registry) -> None:
        """Use `Index.open` or `Index.create`."""
        self.path, self._registry = path, registry
        self._state: Snapshot | None = snapshot
        self._moving = threading.Lock()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        nesting: Nesting,
        *,
        metric: Metric = "cosine",
        dtype: Dtype = "float16",
        ids: IdKind | None = None,
    ) -> Index:
        """Make an empty index. `predict` tells beforehand what vectors will take.

        Args:
            path: a folder that does not exist or is empty.
            nesting: its dims are stored as rings; its weights are not.
            metric: "cosine", "ip" or "l2".
            dtype: of the stored numbers. float16 halves disk and memory and holds numbers up to 65,504.
            ids: "int64" or "string"; None lets the first `add` decide.

        Raises:
            InputError: an argument is none of these.
            DataError: the folder is not empty or cannot be written.
        """
        for param, value, allowed in (("metric", metric, Metric), ("dtype", dtype, Dtype), ("ids", ids, IdKind)):
            if value not in get_args(allowed) and (param != "ids" or value is not None):
                raise InputError.of(param, "one of " + ", ".join(get_args(allowed)), repr(value))
        writer.create(Path(path), nesting, metric, dtype, ids)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = False) -> Index:
        """Open the newest state of an index.

        Takes a few system calls for each file. Names, sizes and the manifest are checked always.

        Args:
            path: the folder.
            verify: read every byte, compare its checksum, and check that ids and rows agree.

        Raises:
            DataError: there is no index.
            CorruptIndexError: it is damaged; without `verify`, in a way that names and sizes show.
            IndexVersionError: a newer Nestling wrote it.
        """
        folder = Path(path)
        if not (folder / MANIFEST).exists():
            raise DataError(f"{folder} is not an index: it has no {MANIFEST}. Check the path, or create one.")
        registry = _registry()
        return cls(folder, open_snapshot(folder, registry, verify=verify), registry)

    def add(self, vectors: Any, ids: Any = None, *, progress: Progress | None = None) -> None:
        """Append vectors; returns when they are on the disk.

        A call costs four syncs of the disk, and one for each derived part: 4 ms for one vector on the disk of a
        small cloud machine, so add many at once. Vectors are read in chunks of 32 MB, and a mapped array of any size
        takes little memory: 20 bytes a row for given ids, 0.3 GB beside them. Now and then small segments are folded
        into the new one, so that there are never many.

        Args:
            vectors: (n, d) float16, float32 or float64, an array or what becomes one, perhaps mapped.
            ids: n ids, all whole numbers ≥ 0 or all texts, none of them in the index; None numbers them on from
                the largest id that was ever given.
            progress: called as ``progress(done, total, words)`` in bytes.

        Raises:
            InputError, ShapeError: vectors or ids are not such, a number is not finite or too large for the dtype,
                or an id occurs twice or is in the index already. Nothing of the call is kept.
            DataError: the disk is full or refuses. Nothing of the call is kept.
            IndexLockedError: another process has been writing for ten seconds.
        """
        self._change(writer.add, vectors, ids, progress=progress)

    def upsert(self, vectors: Any, ids: Any, *, progress: Progress | None = None) -> None:
        """Add vectors, in one change with deleting those of the same ids; errors as of `add`."""
        if ids is None:
            raise InputError.of("ids", "given", "None", "Use add to number vectors on.")
        self._change(writer.add, vectors, ids, upsert=True, progress=progress)

    def delete(self, ids: Any) -> int:
        """Remove the vectors of some ids; returns how many there were, when their removal is on the disk.

        The space is free after `compact`. Ids that are not in the index are passed over.

        Raises:
            InputError, ShapeError: these are no ids of the index's kind.
            DataError, IndexLockedError: as of `add`.
        """
        snapshot, count = writer.delete(self._snapshot, self._registry, ids)
        self._move(snapshot)
        return count

    def compact(self, *, progress: Progress | None = None) -> None:
        """Write the live vectors into one segment (2²⁵ rows at most) and free the space of deleted ones.

        Needs room for a second copy while it runs.

        Raises:
            DataError, IndexLockedError: as of `add`.
        """
        self._change(writer.compact, progress=progress)

    def search(
        self,
        queries: Any,
        k: int | None = None,
        *,
        plan: Plan | str | None = None,
        exact: bool = False,
        among: Any = None,
        threads: int | None = None,
    ) -> Hits:
        """The nearest vectors of each query, best first, equal scores by id.

        Without `plan` the plan that `tune` chose is used, and on an index that was not tuned the search is exact.

        Args:
            queries: (q, d) numbers, or (d,) for one query.
            k: how many; left out, the plan's last keep, or 10.
            plan: a `Plan` or its text, such as ``"probe=32;16@8:1000,64@8:100,2048:10"``.
            exact: return the true k best of the stored vectors, whatever the plan: it is only asked for a first
                guess, and every vector that could be better is looked at (Cauchy-Schwarz on what is not read).
            among: ids; or a mask (n,) of bool in the order of `ids()`: only these are found.
            threads: None runs one query on one thread and a batch on all cores.

        Returns:
            Hits; −1 (None for string ids) and NaN where fewer than k vectors were found.

        Raises:
            PlanError: the plan cannot be read, does not fit the index, or keeps another number than k.
            InputError, ShapeError: queries of another width, NaN, k below 1, or an id that is not in the index.
        """
        snapshot = self._snapshot
        x = checked_queries(queries, snapshot.nesting.width)
        if not len(snapshot):
            return nothing(
                len(x), checked_k(k, Plan.parse(plan) if isinstance(plan, str) else plan), snapshot.manifest.ids
            )
        engine = engine_of(snapshot)
        threads = default_threads(len(x)) if threads is None else threads
        resolved = engine.resolved(plan, k)
        if exact or not resolved.wanted:
            rows, scores, _ = engine.exact(x, resolved.k, guess=resolved, among=among, threads=threads)
        else:
            rows, scores = engine.search(x, resolved, among=among, threads=threads)
        return engine.hits(rows, scores)

    def partition(
        self, cells: int | None = None, dims: int | None = None, *, seed: int = 0, progress: Progress | None = None
    ) -> None:
        """Cut the vectors into cells by k-means on a prefix, so that plans may probe some of them.

        The sketches are laid out cell by cell; vectors added later go to their cell. Wide prefixes make the better
        cells: 4 of 2,048 from 128 dims found what 24 of 1,024 from 32 dims did (docs/LOG.md).

        Args:
            cells: how many; None takes about 3 √n. Text, which clusters little, is found faster by √n or fewer.
            dims: the stored prefix that they are made from; None takes the first of at least 128 dims.
            seed: of the sample and of k-means.
            progress: called as ``progress(done, total, words)``.

        Raises:
            InputError: fewer vectors than cells, or dims that are not stored.
            DataError, IndexLockedError: as of `add`.
        """
        self.refresh()
        cut = fitted_cells(self._snapshot, cells, dims, seed, progress)
        names = [CELLS, *(name for name in self._snapshot.manifest.derived if name != CELLS)]
        self._change(parts.set_partition, cut, names)
        if progress is not None:
            end = comparisons(len(self), cut.cells)
            progress(end, end, "done")

    def tune(
        self,
        queries: Any = None,
        *,
        recall: float = 0.99,
        k: int = 10,
        metric: Measure = "recall",
        labels: Any = None,
        query_labels: Any = None,
        seed: int = 0,
        budget: int | None = None,
        progress: Progress | None = None,
        apply: bool = True,
    ) -> Tuned:
        """Find the cheapest plan that reaches a wish on queries that it was not tuned on, and keep it.

        Half of the queries choose: sketches are tried on a sample, plans simulated on all vectors, the best run and
        timed. The other half measures. Every plan ends in the full stored width, so that scores are exact. Takes about
        a minute for 500,000 × 2,048 on two cores, and scratch space on the disk of one byte a stored number.

        Args:
            queries: (q, d), like those to be searched for, some hundreds at least (of very many some are drawn); None
                lets gallery rows stand in, left out of their own results, which is optimistic.
            recall: the wished share of the true neighbours, as an exact search finds them (ties with the k-th count);
                with metric "map" the wished share of exact search's mAP@k. 1 reads every vector.
            k: neighbours.
            metric: "recall", or "map" for mean average precision (Σ P@i·rel_i / k) by labels.
            labels: (n,) classes of the vectors in the order of `ids()`, for "map".
            query_labels: (q,) classes of the queries, for "map" with queries.
            seed: of the choice and the halves of the queries. Equal seeds may still choose differently, by the times.
            budget: bytes a vector that stay in memory: the sketch, 8 for an int64 id, 4 with cells; None is 64. What
                string ids take is not counted.
            progress: called as ``progress(done, total, words)``.
            apply: make the parts that the plan needs, drop those that an earlier tuning made and nobody needs, and
                let searches use the plan.

        Returns:
            The plan, its recall with an interval, the frontier of measured plans, and warnings.

        Raises:
            InputError, ShapeError: arguments out of range, queries or labels that do not fit, or an empty index.
            DataError, IndexLockedError: as of `add`.
        """
        self.refresh()
        wish = Wish(recall, k, metric, seed, budget)
        found = tuned_index(
            self._snapshot,
            self._registry,
            queries,
            wish,
            labels=labels,
            query_labels=query_labels,
            progress=progress,
            apply=apply,
        )
        self._move(found[0])
        return found[1]

    def derive(self, *names: str) -> None:
        """Compute parts that plans use, for every vector there is and every one that is added later.

        Args:
            names: ``"sketch-16@8"`` (a first stage ``16@8:…``), ``"copy-64,2048"`` (later stages ``64@8:…``). An index
                has one copy: where there is one, the new one takes its place and has the dims of both.

        Raises:
            InputError: no such part fits the index.
            DataError, IndexLockedError: as of `add`.
        """
        self.refresh()
        wanted, replaced = joined(names, self._snapshot.derived.values(), self.nesting)
        self._change(parts.add_derived, wanted, instead_of=replaced)

    def drop(self, *names: str) -> None:
        """Remove parts that `derive` made; errors as of `add`."""
        self._change(parts.drop_derived, list(names))

    def refresh(self) -> bool:
        """Move to the newest state; whether there was one.

        Raises:
            CorruptIndexError, IndexVersionError: as of `open`.
        """
        return self._move(newest(self._snapshot, self._registry))

    def verify(self) -> None:
        """Read every byte of the newest state on the disk and compare it with its checksum.

        Raises:
            CorruptIndexError: naming the file and its section.
        """
        open_snapshot(self.path, self._registry, verify=True)

    def info(self) -> dict[str, Any]:
        """What the index holds, in JSON's types: counts, settings, bytes on disk of each part, bytes in memory.

        ``bytes_in_memory`` counts what searches read all over (resident derived parts, cells, ids, deleted rows);
        the rest is mapped, and the system keeps of it what it has room for.
        """
        return described(self._snapshot)

    def ids(self) -> np.ndarray:
        """(n,) the ids in the order of insertion: int64, or str objects."""
        return self._snapshot.ids()

    def __len__(self) -> int:
        """How many vectors can be found."""
        return len(self._snapshot)

    @property
    def nesting(self) -> Nesting:
        """The stored dims."""
        return self._snapshot.nesting

    @property
    def metric(self) -> Metric:
        """ "cosine", "ip" or "l2"."""
        return self._snapshot.manifest.metric

    @property
    def plan(self) -> Plan | None:
        """The plan of searches that name none; None makes them exact."""
        text = self._snapshot.manifest.plan
        return None if text is None else Plan.parse(text)

    @property
    def stored(self) -> Stored:
        """What plans may use of this index, and what their costs depend on."""
        return stored_of(self._snapshot)

    def close(self) -> None:
        """Let go of the files."""
        self._state = None

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _snapshot(self) -> Snapshot:
        if self._state is None:
            raise InputError.of("the index", "open", f"{self.path}, closed", "Open it again.")
        return self._state

    def _change(
        self, change: Callable[Concatenate[Snapshot, Registry, P], Snapshot], *args: P.args, **named: P.kwargs
    ) -> None:
        """Do one of the changes of `writer` or `parts` and move to its outcome."""
        self._move(change(self._snapshot, self._registry, *args, **named))

    def _move(self, snapshot: Snapshot) -> bool:
        """Show a newer state; whether it is one. Of two threads the later change wins, whoever comes last."""
        with self._moving:
            before = self._snapshot
            if snapshot is not before and snapshot.manifest.generation >= before.manifest.generation:
                self._state = snapshot
            return self._state is not before


def _registry() -> Registry:
    """Reads the names of derived parts."""
    try:
        return cast(Registry, importlib.import_module("nestling.search.derived"))
    except ModuleNotFoundError:
        return NoDerived()
