"""Tables of pairs and folders in BEIR's form."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from nestling.data.text_pairs import TextPairs, read_pairs
from nestling.errors import DataError, InputError

ROWS = [(f"what is {i}", f"{i} is a number, {i * i} its square") for i in range(60)]


def written(path: Path, names: tuple[str, str] = ("query", "document")) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True)) | {"id": 1}) + "\n" for row in ROWS))
    elif path.suffix == ".parquet":
        columns = {name: [row[i] for row in ROWS] for i, name in enumerate(names)}
        pyarrow.parquet.write_table(pa.table({**columns, "n": list(range(60))}), path)
    else:
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerows([names, *ROWS])
    return path


def said(pairs: TextPairs) -> set[tuple[str, str]]:
    return {(pairs.queries[a], pairs.documents[b]) for a, b in pairs.pairs}


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.parquet"])
@pytest.mark.parametrize("names", [("query", "document"), ("anchor", "positive"), ("one", "two")])
def test_a_table_is_parted_by_its_documents(tmp_path: Path, name: str, names: tuple[str, str]) -> None:
    if names == ("one", "two") and name == "a.jsonl":
        pytest.skip("its id makes a third column")
    learnt, asked = read_pairs(written(tmp_path / name, names), held_out=0.2)
    assert said(learnt) | said(asked) == set(ROWS)
    assert not set(learnt.documents) & set(asked.documents)
    assert 3 <= len(asked) <= 25
    again = read_pairs(written(tmp_path / f"b{Path(name).suffix}", names), held_out=0.2)[1]
    assert said(again) == said(asked)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_pairs_of_a_group_stay_together(tmp_path: Path, suffix: str) -> None:
    path, rows = tmp_path / f"a.{suffix}", [(*row, i // 6) for i, row in enumerate(ROWS)]
    names = ("query", "document", "group")
    if suffix == "jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    elif suffix == "parquet":
        pyarrow.parquet.write_table(pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)}), path)
    else:
        with path.open("w", newline="") as stream:
            csv.writer(stream, delimiter="\t" if suffix == "tsv" else ",").writerows([names, *rows])
    learnt, asked = read_pairs(path, held_out=0.3)
    sides = [{ROWS.index(row) // 6 for row in said(each)} for each in (learnt, asked)]
    assert sides[0] | sides[1] == set(range(10))
    assert not sides[0] & sides[1]


def test_a_text_is_there_once_and_pairs_too() -> None:
    pairs = TextPairs.of([("a", "x"), ("a", "y"), ("b", "x"), ("a", "x")])
    assert pairs.queries == ["a", "b"]
    assert pairs.documents == ["x", "y"]
    assert pairs.pairs.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert said(pairs.take(np.array([2]))) == {("b", "x")}


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{i}", "title": f"Title {i}", "text": text} for i, (_, text) in enumerate(ROWS)]
    queries = [{"_id": f"q{i}", "text": text} for i, (text, _) in enumerate(ROWS)]
    for name, lines in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    head = "query-id\tcorpus-id\tscore\n"
    for split, part in (("train", range(40)), ("test", range(40, 60))):
        text = head + "".join(f"q{i}\td{i}\t2\nq{i}\td{(i + 1) % 60}\t0\n" for i in part)
        (folder / "qrels" / f"{split}.tsv").write_text(text + "q999\td1\t1\n")
    return folder


def test_a_folder_in_beirs_form_asks_the_whole_corpus(beir: Path) -> None:
    learnt, asked = read_pairs(beir)
    assert said(learnt) == {(a, f"Title {i} {b}") for i, (a, b) in enumerate(ROWS[:40])}
    assert said(asked) == {(a, f"Title {40 + i} {b}") for i, (a, b) in enumerate(ROWS[40:])}
    assert len(asked.documents) == 60
    assert len(asked.queries) == 20


def test_what_is_wrong_is_one_sentence(tmp_path: Path, beir: Path) -> None:
    def told(path: Path, kind: type[Exception] = DataError) -> str:
        with pytest.raises(kind) as error:
            read_pairs(path)
        return str(error.value)

    assert "does not exist" in told(tmp_path / "none.jsonl")
    (tmp_path / "a.txt").write_text("a")
    assert "ending '.txt'" in told(tmp_path / "a.txt")
    for name, text, wanted in (
        ("a.jsonl", "{", "cannot be read"),
        ("b.jsonl", "[1]\n", "line 1 is no object"),
        ("c.jsonl", '{"query": "a", "document": "b"}\n{"query": "a"}\n', "Line 2"),
        ("d.jsonl", "", "too few"),
        ("e.csv", "query,document\na,b\n", "has 1 pairs, too few"),
        ("f.parquet", "no parquet", "is damaged"),
        ("g.jsonl", '{"query": ' + "[" * 100_000, "cannot be read"),
    ):
        (tmp_path / name).write_text(text)
        assert wanted in told(tmp_path / name), name
    (tmp_path / "h.csv").write_text("a,b,c\n1,2,3\n")
    assert "columns query and document; got columns a, b, c" in told(tmp_path / "h.csv", InputError)
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\n")
    assert "line 2 has 2 columns instead of 3" in told(beir)
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nx\ty\t1\n")
    assert "names no pairs" in told(beir)
    (beir / "qrels" / "test.tsv").unlink()
    assert "test.tsv does not exist" in told(beir)
    (beir / "corpus.jsonl").write_text('{"_id": "d1"}\n')
    (beir / "qrels" / "dev.tsv").write_text("")
    assert "Line 1" in told(beir)
    with pytest.raises(InputError, match="held_out"):
        read_pairs(beir, held_out=0.0)
