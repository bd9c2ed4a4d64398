"""What one does with an index on disk: make it, change it, look at it. Command: ``nestling index``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from nestling.data import check_finite, load_labels, load_vectors
from nestling.errors import DataError, InputError
from nestling.nesting import Nesting
from nestling.search import Metric
from nestling.search.index import Dtype, Index
from nestling.search.storage.usage import Estimate, predict
from nestling.studies.units import in_bytes, in_time
from nestling.studies.watch import Watch

_LARGE = 1 << 30  # bytes of vectors that make it worth measuring how fast the disk is
_CHECK_SPEED = 1e9  # bytes a second that the check for NaN reads
_SAMPLED = 10_000  # ids that tell how long all are


def create_index(
    path: Path,
    vectors: Path,
    *,
    ids: Path | None = None,
    nesting: str | None = None,
    metric: str = "cosine",
    dtype: str = "float16",
    watch: Watch,
) -> dict[str, Any]:
    """Make an index of the vectors in a file; nothing is left of it when they are refused.

    Memory, disk and time are predicted, and told, before the numbers of a mapped file are read.

    Args:
        path: a folder that is not there yet, or is empty.
        vectors: (n, d), as of `load_vectors`.
        ids: n whole numbers or strings in such a file; None numbers the vectors from 0.
        nesting: the dims to store, as text; None doubles from 8 to d.

    Returns:
        What was predicted and what it took, as a record.

    Raises:
        InputError, DataError: files, ids or options that do not fit, or a disk that refuses.
    """
    for param, value, allowed in (("metric", metric, Metric), ("dtype", dtype, Dtype)):
        if value not in get_args(allowed):
            raise InputError.of(param, f"one of {', '.join(get_args(allowed))}", repr(value))
    _check_free(path)
    array, names = load_vectors(vectors, finite=False), _names(ids)
    dims = _default_nesting(array.shape[1]) if nesting is None else Nesting.parse(nesting)
    dims.check(array, str(vectors))
    predicted = _predicted(path, array, names, dims, dtype)
    watch.say(
        f"{len(array):,} vectors of {array.shape[1]} dims, stored at {dims} in {dtype}. Predicted: "
        f"{in_bytes(predicted.disk_bytes)} on disk, {in_bytes(predicted.build_bytes)} of memory to build and "
        f"{in_bytes(predicted.memory_bytes)} to search, "
        f"{'about ' + in_time(predicted.seconds) if predicted.seconds > 1 else 'less than 1 s'}."
    )
    started = time.perf_counter()
    _check_finite(array, vectors, watch)
    with _made(path, dims, metric, dtype) as index:
        with watch.task("write") as step:
            index.add(array, names, progress=step)
        record = {"index": str(path), "vectors": len(index), "dims": list(dims.dims), "metric": metric, "dtype": dtype}
        record |= {"seconds": round(time.perf_counter() - started, 3), "disk_bytes": _disk_bytes(path)}
    return record | {"predicted": asdict(predicted)}


def add_vectors(path: Path, vectors: Path, *, ids: Path | None, upsert: bool, watch: Watch) -> dict[str, Any]:
    """Add the vectors in a file, all of them or none; with `upsert` those whose ids are there are replaced.

    Raises:
        InputError, DataError: files or ids that do not fit, an id that is there already, or no index.
    """
    array, names = load_vectors(vectors, finite=False), _names(ids)
    with Index.open(path) as index:
        index.nesting.check(array, str(vectors))
        if upsert and names is None:
            raise InputError.of("--upsert", "given with --ids", "no ids", "Say which vectors these are.")
        _check_finite(array, vectors, watch)
        started, before = time.perf_counter(), len(index)
        with watch.task("write") as step:
            if upsert:
                index.upsert(array, names, progress=step)
            else:
                index.add(array, names, progress=step)
        replaced = before + len(array) - len(index)
        seconds = round(time.perf_counter() - started, 3)
        return {"added": len(array) - replaced, "replaced": replaced, "vectors": len(index), "seconds": seconds}


def delete_vectors(path: Path, given: Sequence[str], ids: Path | None) -> dict[str, Any]:
    """Delete by ids, given as words or in a file; those that are not there are counted.

    Raises:
        InputError, DataError: no ids, ids of the wrong kind, or no index.
    """
    with Index.open(path) as index:
        names = read_ids(given, ids, kind=index.info()["ids"])
        deleted = index.delete(names)
        return {"asked": len(names), "deleted": deleted, "vectors": len(index)}


def describe_index(path: Path) -> dict[str, Any]:
    """What an index is and holds, and what it takes.

    Raises:
        DataError: no index, or a damaged one.
    """
    with Index.open(path) as index:
        return index.info()


def info_table(found: dict[str, Any]) -> list[list[str]]:
    """What `describe_index` found, a line for each part, as people read it."""
    partition = found["partition"]
    cells = f"{partition['cells']:,} cells of {partition['dims']} dims" if partition else "none"
    sizes = dict(found["bytes_on_disk"])
    total = sizes.pop("total")
    rows = {
        "vectors": f"{found['vectors']:,}" + (f" ({found['deleted']:,} deleted)" if found["deleted"] else ""),
        "stored dims": ", ".join(map(str, found["nesting"])),
        "metric": found["metric"],
        "numbers": found["dtype"],
        "ids": {"int64": "whole numbers", "string": "texts", None: "none yet"}[found["ids"]],
        "partition": cells,
        "plan": found["plan"] or "none; nestling tune finds one",
        "segments": f"{found['segments']:,}",
        "on disk": in_bytes(total),
        **{f"  {part}": in_bytes(size) for part, size in sizes.items()},
        "kept in memory": in_bytes(found["bytes_in_memory"]),
    }
    return [list(row) for row in rows.items()]


def verify_index(path: Path) -> dict[str, Any]:
    """Read every byte and compare it with the checksums.

    Raises:
        CorruptIndexError: a byte is not what was written; the sentence names file and section.
    """
    with Index.open(path) as index:
        started = time.perf_counter()
        index.verify()
        seconds = round(time.perf_counter() - started, 3)
        return {"vectors": len(index), "bytes": _disk_bytes(path), "seconds": seconds}


def partition_index(path: Path, *, cells: int | None, dims: int | None, seed: int, watch: Watch) -> dict[str, Any]:
    """Group the vectors into cells by a prefix; None lets the index choose.

    Raises:
        InputError, DataError: cells or dims that do not fit the index, or no index.
    """
    with Index.open(path) as index:
        started = time.perf_counter()
        with watch.task("partition") as step:
            index.partition(cells, dims, seed=seed, progress=step)
        made = index.info()["partition"]
        seconds = round(time.perf_counter() - started, 3)
        return {"cells": made["cells"], "dims": made["dims"], "vectors": len(index), "seconds": seconds}


def compact_index(path: Path, *, watch: Watch) -> dict[str, Any]:
    """Rewrite the index as one segment without its deleted vectors.

    Raises:
        DataError: no index, or a disk that refuses.
    """
    with Index.open(path) as index:
        before, started = _disk_bytes(path), time.perf_counter()
        with watch.task("compact") as step:
            index.compact(progress=step)
        seconds = round(time.perf_counter() - started, 3)
        return {"vectors": len(index), "bytes_before": before, "bytes": _disk_bytes(path), "seconds": seconds}


def read_ids(given: Sequence[str], file: Path | None, *, kind: str | None) -> Any:
    """Ids from the command line, as the index has them, or from a file.

    Args:
        given: words.
        file: (n,) whole numbers or strings.
        kind: "int64", "string", or None where the index has none yet.

    Raises:
        InputError: both, neither, or words that are no numbers where ids are.
    """
    if bool(given) == (file is not None):
        raise InputError.of("ids", "given either as words or with --ids FILE", "both" if given else "neither")
    if file is not None:
        return load_labels(file)
    if kind == "string":
        return list(given)
    wrong = [word for word in given if not word.isascii() or not word.isdigit()]
    if wrong:
        raise InputError.of("ids", "whole numbers, as this index's are", repr(wrong[0]))
    return [int(word) for word in given]


def _names(file: Path | None) -> np.ndarray | None:
    return None if file is None else load_labels(file)


def _default_nesting(width: int) -> Nesting:
    return Nesting.doubling(width, smallest=min(8, width))


def _predicted(path: Path, array: np.ndarray, names: np.ndarray | None, dims: Nesting, dtype: str) -> Estimate:
    """What the index will take; the check for NaN reads the vectors once more."""
    ids, id_bytes = "int64", 8
    if names is not None and names.dtype.kind == "U":
        some = names[:: -(-len(names) // _SAMPLED)].tolist()
        ids, id_bytes = "string", round(sum(len(name.encode()) for name in some) / len(some))
    disk = next(place for place in path.absolute().parents if place.is_dir()) if array.nbytes > _LARGE else None
    found = predict(len(array), dims, dtype=dtype, ids=ids, id_bytes=id_bytes, path=disk)
    return replace(found, seconds=found.seconds + array.nbytes / _CHECK_SPEED)


def _check_finite(array: np.ndarray, vectors: Path, watch: Watch) -> None:
    """Before anything is written: the index would notice too, but only when it comes to that row."""
    with watch.task("check") as step:
        check_finite(array, str(vectors), progress=step)


def _check_free(path: Path) -> None:
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        what = "an index already" if (path / "manifest.json").exists() else "there already, and not an empty folder"
        raise DataError(f"{path} is {what}. Choose another place, or add to it: nestling index add {path} VECTORS")


@contextmanager
def _made(path: Path, nesting: Nesting, metric: Any, dtype: Any) -> Generator[Index, None, None]:
    """A new index, which goes again when the block raises: what is refused leaves nothing."""
    was_there = path.exists()
    with Index.create(path, nesting, metric=metric, dtype=dtype) as index:
        try:
            yield index
        except BaseException:
            index.refresh()
            if not len(index):  # nobody else has taken to it meanwhile
                shutil.rmtree(path)
                if was_there:
                    path.mkdir()
            raise


def _disk_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
