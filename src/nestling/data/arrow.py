"""Columns of vectors and labels in Arrow's formats: Parquet, IPC files and streams, folders that `datasets` saved.

IPC is mapped: a column that lies in one piece is not copied, others are copied once, piece by piece. Its offsets are
untrusted, so a column is validated before anything follows them; numbers are not, since IPC has no checksums.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np

from nestling.data.naming import chosen
from nestling.data.saved.layout import sets
from nestling.errors import DataError, require_extra

Wanted = Literal["vectors", "labels"]

_FILE_MAGIC = b"ARROW1"  # of IPC's file format; streams have none


def read_parquet(file: Path, key: str | None, wanted: Wanted) -> np.ndarray:
    """The column of a Parquet file, its checksums compared."""
    parquet = require_extra("pyarrow.parquet")
    with parquet.ParquetFile(file, page_checksum_verification=True) as source:
        name = _chosen(source.schema_arrow, key, file, wanted)
        return _read([source.read(columns=[name]).column(name)], file, name, wanted)


def read_arrow(file: Path, key: str | None, wanted: Wanted) -> np.ndarray:
    """The column of an IPC file (Feather is one) or stream."""
    with _opened(file) as source:
        name = _chosen(source.schema, key, file, wanted)
    return _read([_column(file, name)], file, name, wanted)


def read_dataset(folder: Path, key: str | None, wanted: Wanted) -> np.ndarray:
    """The column of a folder of `datasets.Dataset.save_to_disk`."""
    shards = _shards(folder)
    with _opened(shards[0]) as source:
        name = _chosen(source.schema, key, folder, wanted)
    columns = [_column(shard, name) for shard in shards]
    other = next((shard for shard, column in zip(shards, columns, strict=True) if column.type != columns[0].type), None)
    if other is not None:
        raise DataError(f"{other} has another type in column {name!r} than {shards[0]}. Save the data set again.")
    return _read(columns, folder, name, wanted)


def write_parquet(stream: IO[bytes], array: np.ndarray, key: str) -> None:
    """One column of fixed-size lists.

    Random-looking floats do not compress and have no dictionary; the checksum finds flipped bits.
    """
    parquet = require_extra("pyarrow.parquet")
    parquet.write_table(_table(array, key), stream, compression="none", use_dictionary=False, write_page_checksum=True)


def write_arrow(stream: IO[bytes], array: np.ndarray, key: str) -> None:
    """The same as an IPC file of one piece, which is mapped when it is read."""
    table = _table(array, key)
    with require_extra("pyarrow.ipc").new_file(stream, table.schema) as sink:
        sink.write_table(table)


def _table(array: np.ndarray, key: str) -> Any:
    arrow = require_extra("pyarrow")
    return arrow.table({key: arrow.FixedSizeListArray.from_arrays(arrow.array(array.reshape(-1)), array.shape[1])})


# --- files -----------------------------------------------------------------------------------------------


@contextmanager
def _opened(file: Path, fields: Sequence[int] | None = None) -> Generator[Any, None, None]:
    """A mapped IPC file or stream; of other fields than these no buffer is looked at."""
    ipc = require_extra("pyarrow.ipc")
    options = ipc.IpcReadOptions(included_fields=None if fields is None else list(fields))
    mapped = require_extra("pyarrow").memory_map(str(file))
    with file.open("rb") as stream:
        is_file = stream.read(len(_FILE_MAGIC)) == _FILE_MAGIC
    with (ipc.open_file if is_file else ipc.open_stream)(mapped, options=options) as source:
        yield source


def _column(file: Path, name: str) -> Any:
    with _opened(file) as source:
        place = source.schema.get_field_index(name)  # −1 also where there are two
    if place < 0:
        raise DataError(f"{file} has no single column {name!r}. Write it again.")
    with _opened(file, [place]) as source:
        column = source.read_all().column(0)
    column.validate(full=True)
    return column


def _shards(folder: Path) -> tuple[Path, ...]:
    found = sets(folder)
    if folder not in {each.folder for each in found.values()}:
        listed = " or ".join(str(each.folder) for each in found.values())
        raise DataError(f"{folder} holds the splits of a data set. Give one of them: {listed}.")
    (one,) = found.values()
    return one.files


# --- columns ---------------------------------------------------------------------------------------------


def _chosen(schema: Any, key: str | None, place: Path, wanted: Wanted) -> str:
    fits, what = (_is_list, "list columns") if wanted == "vectors" else (_is_label, "label columns")
    return chosen([str(field.name) for field in schema if fits(field.type)], key, place, what)


def _read(columns: Sequence[Any], place: Path, name: str, wanted: Wanted) -> np.ndarray:
    """The column of one file or of several, one after another."""
    column = require_extra("pyarrow").chunked_array(
        [chunk for column in columns for chunk in column.chunks], columns[0].type
    )
    if column.null_count:
        row = column.is_null().to_numpy().argmax()
        raise DataError(f"{place} has an empty cell in column {name!r}, row {row}. Remove such rows.")
    return _vectors(column, place, name) if wanted == "vectors" else _labels(column)


def _vectors(column: Any, place: Path, name: str) -> np.ndarray:
    """An Arrow list column to (n, d); NaN stands for an empty number and is found later."""
    lengths = require_extra("pyarrow.compute").list_value_length(column).to_numpy()
    ragged = np.flatnonzero(lengths != lengths[:1])
    if len(ragged):
        row = int(ragged[0])
        raise DataError(
            f"{place} has lists of unequal length in column {name!r}: {lengths[0]} numbers in row 0, "
            f"{lengths[row]} in row {row}. Make them equal."
        )
    width = int(lengths[0]) if len(lengths) else 0
    pieces = (chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), width) for chunk in column.chunks)
    if column.num_chunks == 1:
        return cast(np.ndarray, next(pieces))
    found: np.ndarray | None = None
    done = 0
    for piece in pieces:
        if found is None:
            found = np.empty((len(column), width), piece.dtype)
        found[done : done + len(piece)] = piece
        done += len(piece)
    return np.empty((0, width), np.float32) if found is None else found


def _labels(column: Any) -> np.ndarray:
    if _arrow("is_integer", column.type):
        return cast(np.ndarray, column.to_numpy())
    return np.array(column.to_pylist(), np.str_)


def _is_list(kind: Any) -> bool:
    return any(_arrow(test, kind) for test in ("is_list", "is_large_list", "is_fixed_size_list"))


def _is_label(kind: Any) -> bool:
    """Integers, strings, or a dictionary of them (what pandas makes of a categorical)."""
    inner = kind.value_type if _arrow("is_dictionary", kind) else kind
    return any(_arrow(test, inner) for test in ("is_integer", "is_string", "is_large_string", "is_string_view"))


def _arrow(test: str, kind: Any) -> bool:
    return bool(getattr(require_extra("pyarrow.types"), test)(kind))
