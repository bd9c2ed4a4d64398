"""What the vectors of a database's column are worth, and the SQL that uses it. Command: ``nestling check postgresql://…``."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nestling.data import load_vectors
from nestling.engines import Column, compile_plan, connected, describe, read_sample
from nestling.engines.postgres.statements import WIDEST
from nestling.errors import InputError
from nestling.files import write_file
from nestling.search.plan import Plan
from nestling.studies.checking import FEWEST, KEPT, Checked, Code, K, check_array, shortest
from nestling.studies.watch import Watch

SCHEMES = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class CheckedColumn:
    """What `check_column` found.

    Attributes:
        column: where it looked; found: what it saw.
        code: the one that the database executes.
        sql: makes its index and prepares its search.
    """

    column: Column
    found: Checked
    code: Code
    sql: str

    def to_json(self) -> dict[str, Any]:
        """Of numbers and texts, beside those of `found`."""
        executed = {"dims": self.code.dims, "bits": self.code.bits, "reranked": self.code.reranked}
        signs = [asdict(code) for code in self.found.signs]
        told = {"signs": signs, "executable": executed, "sql": self.sql}
        return {"column": self.column.title, "nulls": self.column.nulls, **told}


def is_database(vectors: str, table: str | None, column: str | None, sql: Path | None) -> bool:
    """Whether an address is given, not a file.

    Raises:
        InputError: a file, with options of a database.
    """
    if vectors.startswith(SCHEMES):
        return True
    given = {"--table": table, "--column": column, "--sql": sql}
    for option in (name for name, value in given.items() if value is not None):
        raise InputError.of(option, "left out where vectors are a file", "it", "Or begin with postgresql://.")
    return False


def check_column(
    address: str,
    table: str | None,
    column: str | None,
    *,
    queries: Path | None = None,
    sample: int = 200_000,
    count: int | None = None,
    seed: int = 0,
    plot: Path | None = None,
    sql: Path | None = None,
    watch: Watch,
) -> CheckedColumn:
    """Look at a sample of a pgvector column, and write the cheapest search of it that pgvector can execute.

    Args:
        address: postgresql://USER:PASSWORD@HOST:PORT/DATABASE.
        table: with or without its schema.
        column: may be left out where the table has one column of vectors.
        sql: a file to write the statements into; queries and others: as of `check_vectors`.

    Raises:
        InputError: no such address, table or column; fewer than 500 vectors, fewer than 16 dims.
        DataError: a server that cannot be reached or refuses, no pgvector, files that cannot be read or written.
        MissingExtraError: psycopg is not installed.
    """
    if table is None:
        raise InputError.of("--table", "given with a database", "none")
    asked = None if queries is None else np.asarray(load_vectors(queries), np.float32)
    with tempfile.TemporaryDirectory(prefix="nestling-column-") as folder:
        with connected(address) as connection, watch.task("copy") as step:
            there = describe(connection, table, column)
            array = read_sample(connection, there, max(sample, FEWEST), seed, Path(folder) / "sample", step)
        seen = check_array(
            array,
            asked,
            name=there.title,
            sample=sample,
            count=count or there.rows,
            seed=seed,
            plot=plot,
            signs=True,
            watch=watch,
        )
    found = replace(seen, n=there.rows)
    code = executable(found)
    text = _statements(there, found, code)
    if sql is not None:
        write_file(sql, text)
    return CheckedColumn(there, found, code, text)


def executable(found: Checked) -> Code:
    """The shortest code that pgvector has and that finds enough, or else the one that finds most.

    Raises:
        InputError: no prefix is narrow enough for an index.
    """
    halves = [code for code in found.codes if code.bits == 16 and code.dims <= WIDEST[None]]
    codes = halves + [code for code in found.signs if code.dims <= WIDEST[1]]
    if not codes:
        raise InputError.of("vectors", f"such that a prefix has at most {WIDEST[None]} dims", f"{found.d} dims")
    return shortest(codes) or max(codes, key=lambda code: code.reranked[0])


def told(checked: CheckedColumn) -> str:
    """What pgvector executes, and why it may not be what is worth using."""
    code, best = checked.code, checked.found.recommended
    mean, low, high = (100 * share for share in code.reranked)
    same = best is not None and (best.dims, best.bits) == (code.dims, code.bits) and code.bits == 16
    why = "pgvector has that" if same else "pgvector codes a dim in 16 bits, or by its sign alone; there take"
    empty = f" {checked.column.nulls:,} rows have no vector." if checked.column.nulls else ""
    return (
        f"{why}: {code.dims} dims {_precision(code)}, {code.bytes:.0f} bytes; {KEPT} candidates hold "
        f"{mean:.1f} % [{low:.1f}, {high:.1f}] of the true {K}.{empty}"
    )


def _precision(code: Code) -> str:
    return "as halfvec" if code.bits == 16 else "by their signs"


def _statements(column: Column, found: Checked, code: Code) -> str:
    bits = None if code.bits == 16 else code.bits
    plan = Plan.of([(code.dims, KEPT, bits), (found.d, K)])
    mean, low, high = (100 * share for share in code.reranked)
    lengths = "; all have length 1: <#> ranks alike" if found.norms.unit else ""
    share = f"{mean:.1f} % [{low:.1f}, {high:.1f}] of the true {K}"
    return (
        f"-- {code.dims} of {found.d} dims {_precision(code)} choose {KEPT}; full vectors rank them{lengths}.\n"
        f"-- Chosen exactly among {found.gallery:,}, they held {share}; HNSW comes near to it,\n"
        f"-- nearer with a larger hnsw.ef_search. CREATE INDEX CONCURRENTLY leaves the table writable.\n"
        f"{compile_plan(plan, column, found.d)}"
        f"-- EXECUTE nearest ('[…]');\n"
    )
