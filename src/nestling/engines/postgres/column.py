"""A pgvector column: what it is, and a sample of it by binary COPY, in constant memory.

No sentence here repeats the address: it holds a password, and one that is not percent-encoded is taken by libpq for
a host, a port or a database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Float

from nestling.errors import DataError, InputError, require_extra

Kind = Literal["vector", "halfvec"]

_NUMBERS = {"vector": np.dtype(">f4"), "halfvec": np.dtype(">f2")}
_HEADER = 4  # bytes before the numbers: their count, and two that are not used
_ROWS_AT_ONCE = 4096
_SECONDS = 10  # to wait for a connection
_OLDEST = (0, 7)  # the first pgvector with halfvec, subvector and binary_quantize
_KINDS_OF_TABLE = {"v": "a view", "f": "a foreign table", "S": "a sequence", "i": "an index"}

_TABLE = """
SELECT c.oid, c.relkind::text, format('%%I.%%I', n.nspname, c.relname), c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE %(name)s IN (n.nspname || '.' || c.relname, format('%%I.%%I', n.nspname, c.relname))
   OR %(name)s IN (c.relname, quote_ident(c.relname)) AND pg_table_is_visible(c.oid)
ORDER BY pg_table_is_visible(c.oid) DESC LIMIT 1"""
_COLUMNS = """
SELECT a.attname, quote_ident(a.attname), t.typname, format_type(a.atttypid, a.atttypmod)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
_KEY = """
SELECT quote_ident(a.attname)
FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s AND i.indisprimary ORDER BY array_position(i.indkey::int2[], a.attnum)"""
_ALL = """
SELECT format('%I.%I (%s)', n.nspname, c.relname, string_agg(a.attname, ', '))
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
WHERE t.typname IN ('vector', 'halfvec') AND c.relkind IN ('r', 'p', 'm') AND NOT a.attisdropped
GROUP BY n.nspname, c.relname ORDER BY 1 LIMIT 10"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of vectors, named as SQL names it.

    Attributes:
        table, column, key: quoted where SQL wants quotes; key is the primary key, or the row's place without one.
        title: table and column as a person reads them.
        kind: of its numbers.
        rows: with a vector; nulls: without one.
    """

    table: str
    column: str
    key: tuple[str, ...]
    title: str
    kind: Kind
    rows: int
    nulls: int


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A connection that only reads, in one transaction that sees one state of the database.

    Args:
        address: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, as libpq reads it.

    Raises:
        InputError: no such address.
        DataError: nobody answers there, or the server refuses what is asked of it.
        MissingExtraError: psycopg is not installed.
    """
    psycopg: Any = require_extra("psycopg")
    settings = _settings(address)
    try:
        connection = psycopg.connect(**settings, prepare_threshold=None)
    except psycopg.Error as error:
        told = f" {_reason(error)}." if _plain(settings) else ""
        do = "Check the address; in a password @ is written %40, / %2F."
        raise DataError(f"PostgreSQL cannot be reached.{told} {do}") from None
    with connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        try:
            yield connection
        except psycopg.Error as error:
            raise DataError(f"PostgreSQL refuses: {_reason(error)}.") from error


def describe(connection: Any, table: str, column: str | None = None) -> Column:
    """Find a column and count its rows, which reads the table once (not the vectors that are stored apart from it).

    Args:
        connection: of `connected`.
        table: with or without its schema, as psql's ``\\d`` shows it.
        column: may be left out where the table has one column of vectors.

    Raises:
        InputError: there is no such table or column, or it holds no vectors.
        DataError: there is no pgvector, or an old one.
    """
    _check_version(connection)
    found = connection.execute(_TABLE, {"name": table}).fetchone()
    if found is None:
        have = "; ".join(row[0] for row in connection.execute(_ALL)) or "none"
        raise InputError.of("--table", "a table of this database", repr(table), f"Tables with vectors: {have}.")
    oid, relkind, quoted, relname = found
    if relkind not in "rpm":
        what = _KINDS_OF_TABLE.get(relkind, "something else")
        raise InputError.of("--table", "a table, which can be indexed", f"{what}, {table!r}")
    name, quoted_name, kind = _chosen(connection.execute(_COLUMNS, [oid]).fetchall(), column, table)
    key = tuple(row[0] for row in connection.execute(_KEY, [oid])) or ("ctid",)
    counts = f"SELECT count(*), count({quoted_name}) FROM {quoted}"  # noqa: S608 (the server has quoted them)
    every, rows = connection.execute(counts).fetchone()
    return Column(quoted, quoted_name, key, f"{relname}.{name}", kind, rows, every - rows)


def read_sample(
    connection: Any,
    column: Column,
    sample: int,
    seed: int,
    out: Path,
    progress: Callable[[int, int], Any] | None = None,
) -> Float[np.ndarray, "n d"]:
    """Copy some vectors of a column, each drawn by itself, into a file, and map it.

    All of them where the column has no more than `sample`; else about as many, mostly a few more: whoever wants
    exactly `sample` leaves some out by chance, not the last of the table. The same table and seed give the same.

    Args:
        connection: of `connected`; column: of `describe`.
        out: a file to write, of n·d numbers.
        progress: told rows and how many are expected.

    Returns:
        Mapped, float32 of a vector column, float16 of a halfvec column.

    Raises:
        DataError: no vectors, or vectors of unequal width.
    """
    numbers = _NUMBERS[column.kind]
    width, count = 0, 0
    with out.open("wb") as file:
        for values in _batches(connection, column, sample, seed):
            width = width or len(values[0])
            other = next((len(value) for value in values if len(value) != width), None)
            if other is not None:
                dims = sorted((size - _HEADER) // numbers.itemsize for size in (width, other))
                raise DataError(f"{column.title} has vectors of {dims[0]} and of {dims[1]} dims. Make them equal.")
            read = np.frombuffer(b"".join(values), np.uint8).reshape(len(values), width)[:, _HEADER:]
            file.write(np.ascontiguousarray(read).view(numbers).astype(numbers.newbyteorder("=")).data)
            count += len(values)
            if progress is not None:
                progress(count, max(count, min(sample, column.rows)))
    if not count:
        raise DataError(f"{column.title} holds no vectors, and {column.nulls:,} empty cells. Fill it first.")
    shape = count, (width - _HEADER) // numbers.itemsize
    return np.memmap(out, numbers.newbyteorder("="), "r", shape=shape)


def _batches(connection: Any, column: Column, sample: int, seed: int) -> Iterator[list[bytes]]:
    """The column's cells as pgvector sends them, some thousand at a time."""
    drawn = ""
    if column.rows > sample:
        # Six standard deviations more, since rows are drawn one by one: there are hardly ever too few.
        share = min(1.0, (sample + 6 * sample**0.5) / column.rows)
        drawn = f" TABLESAMPLE BERNOULLI ({100 * share!r}) REPEATABLE ({int(seed)})"
    # One process from the first page on: else the order, and with it whatever is drawn later, would change.
    connection.execute("SET LOCAL synchronize_seqscans = off")
    connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
    name = column.column
    cells = f"SELECT {name} FROM {column.table}{drawn} WHERE {name} IS NOT NULL"  # noqa: S608 (quoted by the server)
    with connection.cursor() as cursor, cursor.copy(f"COPY ({cells}) TO STDOUT (FORMAT BINARY)") as copy:
        copy.set_types(["bytea"])
        batch: list[bytes] = []
        for row in copy.rows():
            batch.append(row[0])
            if len(batch) == _ROWS_AT_ONCE:
                yield batch
                batch = []
    if batch:
        yield batch


def _settings(address: str) -> dict[str, Any]:
    psycopg: Any = require_extra("psycopg")
    conninfo: Any = require_extra("psycopg.conninfo")
    try:
        return {"connect_timeout": _SECONDS} | conninfo.conninfo_to_dict(address)
    except psycopg.Error:
        rule = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        do = "Percent-encode what is reserved, in a password @ as %40 and % as %25."
        raise InputError.of("the address", rule, "something that cannot be read", do) from None


def _plain(settings: dict[str, Any]) -> bool:
    """Whether no part of a password can have been taken for a name, which libpq would repeat."""
    names = "".join(str(settings.get(name, "")) for name in ("user", "host", "dbname"))
    return "@" not in names and str(settings.get("port", "1")).replace(",", "").isdigit()


def _check_version(connection: Any) -> None:
    found = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    if found is None:
        raise DataError("This database has no pgvector. Run there: CREATE EXTENSION vector.")
    if tuple(int(part) for part in found[0].split(".")[:2]) < _OLDEST:
        raise DataError(
            f"This database has pgvector {found[0]}, and prefixes need 0.7.0. Run there: ALTER EXTENSION vector UPDATE."
        )


def _chosen(columns: list[tuple[str, str, str, str]], wanted: str | None, table: str) -> tuple[str, str, Kind]:
    """(name, name in SQL, kind) of the wanted column, or of the only one with vectors."""
    fit = [column for column in columns if column[2] in _NUMBERS]
    have = ", ".join(repr(column[0]) for column in fit) or "none"
    found = [column for column in columns if wanted in column[:2]] if wanted is not None else fit
    if len(found) != 1:
        got = "none" if wanted is None else repr(wanted)
        raise InputError.of("--column", f"one of {table}", got, f"Its columns of vectors: {have}.")
    name, quoted, kind, written = found[0]
    if kind not in _NUMBERS:
        raise InputError.of("--column", "a vector or halfvec", f"{name!r}, {written}", f"Columns of vectors: {have}.")
    return name, quoted, cast(Kind, kind)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
