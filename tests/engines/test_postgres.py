"""PostgreSQL with pgvector: what is read is what lies there, plans find what NumPy finds, and what is refused."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nestling.engines import Column, compile_plan, connected, describe, read_sample
from nestling.errors import DataError, InputError, PlanError
from nestling.metrics import neighbor_recall
from nestling.search import exact
from nestling.search.plan import Plan
from tests.engines.server import fill, run, running
from tests.evaluation.test_prefixes import D, vectors

X = vectors("nested")
TABLES = {"vector": "docs", "halfvec": "halves"}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running() as address:
        fill(address, "docs", X[300:], nulls=7)
        fill(address, "halves", X[300:], kind="halfvec", key=False)
        run(address, 'CREATE SCHEMA "my schema"')
        fill(address, '"my schema"."Docs ""x"""', X[:600])
        run(address, 'ALTER TABLE "my schema"."Docs ""x""" RENAME embedding TO "100%I; --"')
        yield address


def read(address: str, table: str, folder: Path, *, sample: int = 10**6, seed: int = 0) -> tuple[Column, np.ndarray]:
    with connected(address) as connection:
        column = describe(connection, table)
        return column, read_sample(connection, column, sample, seed, folder / "sample")


@pytest.mark.parametrize(("kind", "dtype"), [("vector", np.float32), ("halfvec", np.float16)])
def test_a_whole_column_comes_back_bit_for_bit(address: str, kind: str, dtype: type, tmp_path: Path) -> None:
    column, found = read(address, TABLES[kind], tmp_path)
    assert isinstance(found, np.memmap)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, X[300:].astype(dtype))
    nulls = 7 if kind == "vector" else 0
    assert (column.kind, column.rows, column.nulls) == (kind, 2000, nulls)
    assert column.key == (("id",) if kind == "vector" else ("ctid",))
    assert column.title == f"{TABLES[kind]}.embedding"


@pytest.mark.parametrize("name", ['my schema.Docs "x"', '"my schema"."Docs ""x"""'])
def test_names_are_quoted(address: str, name: str, tmp_path: Path) -> None:
    column, found = read(address, name, tmp_path)
    np.testing.assert_array_equal(found, X[:600])
    assert (column.table, column.column) == ('"my schema"."Docs ""x"""', '"100%I; --"')
    run(address, f"BEGIN; {compile_plan(Plan.parse('16@1:100,64:10'), column, D)} ROLLBACK")


def test_a_sample_is_drawn_row_by_row_from_a_seed(address: str, tmp_path: Path) -> None:
    whole = [row.tobytes() for row in X[300:]]
    first = read(address, "docs", tmp_path, sample=400, seed=3)[1]
    places = [whole.index(row.tobytes()) for row in np.array(first)]
    assert 400 <= len(places) <= 640
    assert len(set(places)) == len(places)
    assert abs(np.mean(places) - 1000) < 5 * 577 / len(places) ** 0.5
    np.testing.assert_array_equal(first, read(address, "docs", tmp_path, sample=400, seed=3)[1])
    other = read(address, "docs", tmp_path, sample=400, seed=4)[1]
    assert other.shape != first.shape or not np.array_equal(other, first)


def test_partitions_and_materialized_views_are_tables_too(address: str, tmp_path: Path) -> None:
    run(address, "CREATE MATERIALIZED VIEW kept AS SELECT id, embedding FROM docs")
    run(address, "CREATE TABLE parted (id bigint, embedding vector(64)) PARTITION BY HASH (id)")
    for i in range(2):
        run(address, f"CREATE TABLE parted{i} PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER {i})")
    run(address, "INSERT INTO parted SELECT id, embedding FROM docs")
    for table in ("kept", "parted"):
        column, found = read(address, table, tmp_path)
        np.testing.assert_array_equal(np.unique(found, axis=0), np.unique(X[300:], axis=0))
        assert 300 < len(read(address, table, tmp_path, sample=400)[1]) < 700
        run(address, f"BEGIN; {compile_plan(Plan.parse('16:100,64:10'), column, D)} ROLLBACK")


def test_reading_takes_little_memory(address: str, tmp_path: Path) -> None:
    run(address, "CREATE TABLE many AS SELECT embedding FROM docs, generate_series(1, 15) WHERE embedding IS NOT NULL")
    told: list[tuple[int, int]] = []
    with connected(address) as connection:
        column = describe(connection, "many")
        tracemalloc.start()
        found = read_sample(connection, column, 10**6, 0, tmp_path / "x", lambda done, of: told.append((done, of)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert found.nbytes == 30_000 * D * 4
    assert peak < found.nbytes / 1.5
    assert told[-1] == (30_000, 30_000)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("table", TABLES.values())
@pytest.mark.parametrize("plan", ["16:100,64:10", "64:100,64:10", "32@1:100,64:10", "64@1:100,64:10"])
def test_a_plan_finds_what_numpy_finds_and_uses_its_index(address: str, table: str, plan: str) -> None:
    import psycopg

    with connected(address) as connection:
        column = describe(connection, table)
    compiled = compile_plan(Plan.parse(plan), column, D)
    queries, gallery = X[:40], X[300:].astype(np.float16 if column.kind == "halfvec" else np.float32)
    first = Plan.parse(plan).stages[0]
    with psycopg.connect(address) as connection:
        connection.execute("SET enable_seqscan = off")  # of so few rows each is read sooner
        connection.execute(str(compiled).encode())
        asked = [f"EXECUTE nearest ('{q.tolist()}')".encode() for q in queries]
        rows = [connection.execute(text).fetchall() for text in asked]
        shown = "\n".join(line[0] for line in connection.execute(b"EXPLAIN " + asked[0]))
        connection.rollback()
    assert "Index Scan using" in shown, shown
    assert f"{table}_embedding_{first.dims}_{'bit' if first.bits else 'halfvec'}" in shown
    places = np.array([[_place(row[0]) for row in found] for found in rows])
    distances = np.array([[row[1] for row in found] for found in rows])
    assert (np.diff(distances, axis=1) >= 0).all()
    expected = _by_numpy(gallery.astype(np.float32), queries, first.dims, first.bits)
    if not first.bits:
        assert neighbor_recall(places, expected).mean() > 0.99
    true = exact(gallery.astype(np.float32), queries, 10).ids  # signs are often equally far, so either may be kept
    assert neighbor_recall(places, true).mean() > neighbor_recall(expected, true).mean() - 0.03


def _place(key: object) -> int:
    """An id, or the place of a row that has none: (page, item), each page with as many as the first."""
    return key if isinstance(key, int) else _of_place(str(key))


def _of_place(text: str) -> int:
    page, item = (int(part) for part in text.strip("()").split(","))
    return page * PER_PAGE + item - 1


PER_PAGE = 8192 // (24 + 8 + 8 + 2 * D + 4)  # halves of 64 dims and an id, with their headers


def _by_numpy(gallery: np.ndarray, queries: np.ndarray, m: int, bits: int | None) -> np.ndarray:
    """The plan, stupidly."""
    coded = (np.where(x > 0, 1, -1).astype(np.float32) for x in (gallery, queries)) if bits else (gallery, queries)
    kept = exact(*coded, 100, m=m).ids
    return np.stack([own[exact(gallery[own], q[None], 10).ids[0]] for own, q in zip(kept, queries, strict=True)])


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ("64:10", "two stages without cells; got 64:10"),
        ("probe=3;16:100,64:10", "two stages without cells"),
        ("16@4:100,64:10", "of 16 bits up to 4000 dims, or of one bit; got 16@4:100"),
        ("16:2000,64:10", "keeps at most 1000"),
        ("16:100,32:10", "of all 64 dims; got 32:10"),
    ],
)
def test_plans_that_pgvector_cannot_execute(plan: str, words: str) -> None:
    column = Column("t", "x", ("id",), "t.x", "vector", 9, 0)
    with pytest.raises(PlanError, match=words):
        compile_plan(Plan.parse(plan), column, D)


def test_a_long_name_stays_one() -> None:
    column = Column("t", "x", ("a", "b"), "ä" * 40 + '".x', "vector", 9, 0)
    index = compile_plan(Plan.parse("16:100,64:10"), column, D).index
    name = index.split(" ON ")[0].removeprefix("CREATE INDEX ")
    assert name.startswith('"ä')
    assert name.endswith('_16_halfvec"')
    assert len(name[1:-1].encode()) <= 63


# --- sentences -------------------------------------------------------------------------------------------


def test_what_is_not_there(address: str) -> None:
    run(address, "CREATE VIEW seen AS SELECT * FROM docs; CREATE TABLE two (a vector(3), b halfvec(3), c text)")
    run(address, "CREATE TABLE none (a vector(3)); CREATE TABLE uneven (a vector)")
    run(address, "INSERT INTO none VALUES (NULL); INSERT INTO uneven VALUES ('[1,2]'), ('[1,2,3]')")
    cases = [
        ("Docs", None, r"table of this database; got 'Docs'\. Tables with vectors: .*public\.docs \(embedding\)"),
        ("docs; DROP TABLE docs", None, "table of this database"),
        ("seen", None, "got a view, 'seen'"),
        ("docs", "title", r"one of docs; got 'title'\. Its columns of vectors: 'embedding'"),
        ("docs", "id", "vector or halfvec; got 'id', bigint"),
        ("two", None, r"one of two; got none\. Its columns of vectors: 'a', 'b'"),
    ]
    for table, column, words in cases:
        with connected(address) as connection, pytest.raises(InputError, match=words):
            describe(connection, table, column)


def test_columns_without_vectors_or_with_uneven_ones(address: str, tmp_path: Path) -> None:
    run(address, "CREATE TABLE empty (a vector(3)); CREATE TABLE mixed (a vector)")
    run(address, "INSERT INTO empty VALUES (NULL); INSERT INTO mixed VALUES ('[1,2]'), ('[1,2,3]')")
    with pytest.raises(DataError, match=r"empty\.a holds no vectors, and 1 empty cells"):
        read(address, "empty", tmp_path)
    with pytest.raises(DataError, match=r"mixed\.a has vectors of 2 and of 3 dims"):
        read(address, "mixed", tmp_path)


def test_databases_without_pgvector_or_with_an_old_one(address: str) -> None:
    run(address, "CREATE DATABASE bare")
    run(address, "CREATE DATABASE old")
    run(address.replace("/postgres?", "/old?"), "CREATE EXTENSION vector; UPDATE pg_extension SET extversion = '0.6.2'")
    for name, words in (("bare", "no pgvector. Run there: CREATE EXTENSION vector"), ("old", "0.6.2, and prefixes")):
        with connected(address.replace("/postgres?", f"/{name}?")) as there, pytest.raises(DataError, match=words):
            describe(there, "docs")


def test_what_the_server_refuses_is_a_sentence_and_nothing_is_written(address: str) -> None:
    run(address, "CREATE ROLE stranger LOGIN")
    theirs = address.replace("postgres@", "stranger@")
    with pytest.raises(DataError, match="refuses: permission denied for table docs"), connected(theirs) as connection:
        describe(connection, "docs")
    with pytest.raises(DataError, match="read-only transaction"), connected(address) as connection:
        connection.execute("DELETE FROM docs")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:s3cret@127.0.0.1:1/x",
        "postgresql://me@127.0.0.1:1/x?password=s3cret",
        "postgresql://me:p@s3cret@127.0.0.1:1/x",
        "postgresql://me:p/s3cret@127.0.0.1:1/x",
        "postgresql://me:7/s3cret@127.0.0.1:1/x",
        "postgresql://me@corp:s3cret@127.0.0.1:1/x",
        "postgresql://me:%s3cret@127.0.0.1:1/x",
        "postgresql://me:s3cret@127.0.0.1:1/x?no=1",
        "postgres://me:s3cret/x",
        "postgresql://[s3cret",
    ],
)
def test_no_sentence_tells_the_password(address: str) -> None:
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    with pytest.raises((DataError, InputError)) as refused, connected(address):
        pass
    assert "s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.__suppress_context__
    if address.endswith("s3cret@127.0.0.1:1/x") and address.count("@") == 1 and "/s" not in address:
        assert "%" in address or "Connection refused" in str(refused.value)
