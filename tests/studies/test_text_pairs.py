"""Fine-tuning on pairs, end to end, on a small model that sentence-transformers loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from nestling import Nesting, truncate
from nestling.adaptor import MatryoshkaAdaptor
from nestling.data import load_labels, load_vectors
from nestling.data.text_pairs import TextPairs
from nestling.data.tokens import Tokenizer
from nestling.errors import DataError, InputError
from nestling.models.encoders.text import minilm
from nestling.studies.text_pairs.encoder import PairEncoder
from nestling.studies.text_pairs.measuring import found_by, rows_of
from nestling.studies.text_pairs.mining import hard_negatives
from tests.cli.command import here, refused

library = pytest.importorskip("sentence_transformers")
THINGS = ("library", "game", "tool", "editor", "kernel", "font", "browser", "server")
FOR = ("numbers", "stars", "music", "letters", "pictures", "games", "networks", "maps", "words")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bert")
    about = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**about)).save_pretrained(root)
    Tokenizer.load(minilm()).save(root)
    (root / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 64})
    )
    return root


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    lines = [
        {"query": f"{thing} {about}", "document": f"This is a {thing} that is made for all kinds of {about}."}
        for thing in THINGS
        for about in FOR
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_trained_measured_saved_and_loaded_by_sentence_transformers(folder: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    how = ["--encoder", folder, "--dims", "4,8,16", "--batch-size", 16, "--lr", 5e-3, "--epochs", 6, "--chunk", 8]
    command = ["train", "--pairs", table, "--out", out, *how, "--hard-negatives", 2, "--val-fraction", 0.3]
    done = here(*command, "--query-prompt", "query: ")
    assert done.returncode == 0, done.stderr
    assert "queries are asked of" in done.stdout
    assert "gained over before, points" in done.stdout
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    value = {(row["system"], row["metric"], row["dims"]): row["value"] for row in rows}
    for system in ("before", "plain fine-tuning", "nested", "nested, turned"):
        assert {(system, metric, 8) for metric in ("nDCG@10", "recall@10", "recall@1")} <= set(value)
    assert value["nested", "nDCG@10", 4] > value["before", "nDCG@10", 4]
    plain = PairEncoder(str(out / "encoder"))
    texts = ["query: font maps", "This is a game that is made for all kinds of stars."]
    turned = MatryoshkaAdaptor.load(out / "adaptor").transform(plain.vectors(texts))
    for m in (4, 8, 16):
        theirs = library.SentenceTransformer(str(out / "model"), device="cpu", truncate_dim=m)
        found = theirs.encode(texts, normalize_embeddings=True)
        assert np.allclose(found, truncate(turned, m), atol=1e-5)
    (tmp_path / "texts.txt").write_text("\n\n".join(texts))
    encoded = here("encode", out, tmp_path / "texts.txt", "--out", tmp_path / "x.parquet")
    assert encoded.returncode == 0, encoded.stderr
    assert np.allclose(load_vectors(tmp_path / "x.parquet"), found, atol=1e-5)
    assert load_labels(tmp_path / "x.parquet", key="id").tolist() == ["0", "1"]
    assert refused(here(*command)).startswith("folder must be")
    (start,) = out.glob("start-*")  # a run that goes on begins with the rotation that is there
    begun = MatryoshkaAdaptor.load(start)
    matrix = begun.maps_[0].matrix
    assert np.allclose(matrix @ matrix.T, np.eye(16), atol=1e-5)
    stamp = start.stat().st_mtime_ns
    again = here(*command, "--query-prompt", "query: ", "--resume", "--json")
    assert [each.stat().st_mtime_ns for each in out.glob("start-*")] == [stamp]
    assert again.returncode == 0, again.stderr
    assert {row["value"] for row in map(json.loads, again.stdout.splitlines()) if row["system"] == "nested"} == {
        row["value"] for row in rows if row["system"] == "nested"
    }


def test_what_train_refuses_of_pairs(folder: Path, table: Path, tmp_path: Path) -> None:
    assert "told --images or --pairs; got neither" in refused(here("train"))
    assert "got both" in refused(here("train", "--images", tmp_path, "--pairs", table))
    command = ("train", "--pairs", table, "--out", tmp_path / "out", "--encoder", folder, "--batch-size", 8)
    assert "--size must be left out with --pairs" in refused(here(*command, "--size", 64))
    assert "--dims must be at most the 16" in refused(here(*command, "--dims", "8,32"))
    assert "--max-length must be from 2" in refused(here(*command, "--max-length", 1))
    assert "does not exist" in refused(here("train", "--pairs", tmp_path / "none.jsonl", "--encoder", folder))
    with pytest.raises(DataError, match="does not exist"):
        PairEncoder(str(tmp_path / "none"))


def test_values_are_those_of_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    rows = np.unique(np.array([[q, d] for q in range(9) for d in (q, (q * 2) % 15)]), axis=0)
    asked = TextPairs([""] * 9, [""] * 15, rows)
    x, y = (rng.standard_normal((n, 6)).astype(np.float32) for n in (9, 15))
    found = found_by(x, y, asked, Nesting((3, 6)))
    for k, m in enumerate((3, 6)):
        for q in range(9):
            a, b = truncate(x[q : q + 1].astype(np.float64), m), truncate(y.astype(np.float64), m)
            best = np.argsort(-(b @ a[0]), kind="stable")[:10]
            wanted = {int(d) for p, d in asked.pairs if p == q}
            gains = [1 / np.log2(place + 2) for place, d in enumerate(best) if int(d) in wanted]
            most = sum(1 / np.log2(place + 2) for place in range(len(wanted)))
            assert found["nDCG@10"][k, q] == pytest.approx(sum(gains) / most, abs=1e-5)
            assert found["recall@10"][k, q] == pytest.approx(len(gains) / len(wanted), abs=1e-6)
            assert found["recall@1"][k, q] == (int(best[0]) in wanted)
    told = rows_of({"before": found, "after": found}, Nesting((3, 6)))
    gained = [row for row in told if row.system == "after − before"]
    assert len(gained) == 6
    assert all(row.value == 0 and row.interval == (0.0, 0.0) for row in gained)


def test_hard_negatives_are_near_and_no_answers() -> None:
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((200, 8)).astype(np.float32)
    queries = documents[:30] + 0.3 * rng.standard_normal((30, 8)).astype(np.float32)
    documents[150] = documents[3]  # says the same as an answer, and nobody marked it
    pairs = np.array([[q, q] for q in range(30)] + [[5, 60]])
    found = hard_negatives(queries, documents, pairs, 3, margin=0.05, seed=0)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, documents))
    scores = a @ b.T
    for row, (q, d) in enumerate(pairs[:30]):  # the last has an answer that is far away: its negatives are drawn
        limit = 0.95 * scores[q, d]
        answers = {int(other) for asks, other in pairs if asks == q}
        good = [i for i in np.argsort(-scores[q]) if scores[q, i] < limit and int(i) not in answers]
        assert found[row].tolist() == good[:3]
    assert 150 not in found[3]
    assert not set(found[5].tolist()) & {5, 60}
    for count, margin in ((200, 0.05), (0, 0.05), (3, 1.0)):
        with pytest.raises(InputError):
            hard_negatives(queries, documents, pairs, count, margin=margin, seed=0)
