"""A plan in pgvector's SQL: an expression index over a prefix, and a query whose candidates full vectors rank.

pgvector codes a prefix in 16 bits a dim (halfvec) or in one, the sign; it compares signs with signs, while the sketches
of an `Index` compare them with the query's numbers. So a plan of 64@1 finds less here than there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nestling.engines.postgres.column import Column
from nestling.errors import PlanError
from nestling.search.plan import Plan, Stage

WIDEST = {None: 4000, 1: 64_000}
"""Dims of a prefix that HNSW indexes, by bits; None is 16."""
_EF_MOST = 1000  # what hnsw.ef_search may be
_NAME = 63  # bytes of a name; longer ones are cut by PostgreSQL
_EF = 4  # ef_search for each candidate: with 1 HNSW missed 1.5 % of the true ten, with 4 .1 % (docs/postgres.md)
_PLAIN = re.compile("[a-z_][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Compiled:
    """The statements of a plan.

    Attributes:
        index: makes the index; once.
        setting: for each session.
        query: prepares the search; $1 is the query, hits come best first with their cosine distance.
    """

    index: str
    setting: str
    query: str

    def __str__(self) -> str:
        return f"{self.index}\n{self.setting}\n{self.query}\n"


def compile_plan(plan: Plan, column: Column, width: int) -> Compiled:
    """Write a plan for a column.

    Args:
        plan: two stages: a prefix at the stored precision, which becomes 16 bits, or at one bit; then all dims.
        column: of `describe`; width: of its vectors.

    Raises:
        PlanError: a plan that pgvector cannot execute.
    """
    first, last = _checked(plan, width)
    kind = "bit" if first.bits == 1 else "halfvec"
    code, operators, sign = _code(column.column, first, width)
    asked = _code("$1", first, width)[0]
    key = ", ".join(column.key)
    index = (
        f"CREATE INDEX {_name(column, f'_{first.dims}_{kind}')} ON {column.table}\n  USING hnsw (({code}) {operators});"
    )
    setting = f"SET hnsw.ef_search = {min(_EF_MOST, _EF * first.keep)};"
    name = column.column
    candidates = (  # the server has quoted these names
        f"  SELECT {key}, {name} FROM {column.table}\n"  # noqa: S608
        f"  ORDER BY {code}\n    {sign} {asked}\n"
        f"  LIMIT {first.keep}\n"
    )
    query = (
        f"PREPARE nearest ({column.kind}({width})) AS\n"
        f"SELECT {key}, {name} <=> $1 AS distance FROM (\n{candidates}) AS candidates\n"
        f"ORDER BY {name} <=> $1 LIMIT {last.keep};"
    )
    return Compiled(index, setting, query)


def _checked(plan: Plan, width: int) -> tuple[Stage, Stage]:
    do = f"Write for example 64:100,{width}:10 or 64@1:100,{width}:10."
    if len(plan.stages) != 2 or plan.probe is not None:
        raise PlanError.of("a plan for pgvector", "two stages without cells", plan, do)
    first, last = plan.stages
    if first.bits not in WIDEST or first.dims > min(width, WIDEST[first.bits]):
        rule = f"of 16 bits up to {WIDEST[None]} dims, or of one bit"
        raise PlanError.of("its first stage", rule, first, do)
    if first.keep > _EF_MOST:
        raise PlanError.of("its first stage", f"one that keeps at most {_EF_MOST}, as HNSW does", first, do)
    if (last.dims, last.bits) != (width, None):
        raise PlanError.of("its last stage", f"of all {width} dims", last, do)
    return first, last


def _code(vector: str, stage: Stage, width: int) -> tuple[str, str, str]:
    """The code of a vector as an expression, its operator class and its distance."""
    cut = vector if stage.dims == width else f"subvector({vector}, 1, {stage.dims})"
    if stage.bits == 1:
        return f"binary_quantize({cut})::bit({stage.dims})", "bit_hamming_ops", "<~>"
    return f"{cut}::halfvec({stage.dims})", "halfvec_cosine_ops", "<=>"


def _name(column: Column, tail: str) -> str:
    """The index's name, as short as PostgreSQL wants it, quoted where it must be."""
    whole = column.title.replace(".", "_").encode()[: _NAME - len(tail)].decode(errors="ignore") + tail
    return whole if _PLAIN.fullmatch(whole) else '"' + whole.replace('"', '""') + '"'
