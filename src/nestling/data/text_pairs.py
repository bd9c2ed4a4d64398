"""Pairs of texts, a query and a document that answers it: from a table in a file, or from a folder in BEIR's form.

BEIR (Thakur et al. 2021): ``corpus.jsonl`` and ``queries.jsonl`` with ``_id``, ``text`` (and ``title``), and
``qrels/train.tsv``, ``qrels/test.tsv`` with query, document and score.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Int64

from nestling.data.parts import part_of
from nestling.errors import DataError, InputError, require_extra
from nestling.files import write_file

_NAMES = (("query", "document"), ("anchor", "positive"), ("question", "answer"), ("query", "positive"))
_GROUP = "group"
_SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
_CORPUS, _QUERIES, _QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
_TESTS = ("test", "dev", "validation")
_LONGEST = 1 << 20  # characters of a field of a table


@dataclass(frozen=True, eq=False)
class TextPairs:
    """n pairs of m texts on either side, each text once.

    Attributes:
        queries, documents: the texts.
        pairs: (n, 2) rows of both; a query may have several documents, and a document several queries.
    """

    queries: Sequence[str]
    documents: Sequence[str]
    pairs: Int64[np.ndarray, "n 2"]

    def __len__(self) -> int:
        return len(self.pairs)

    @classmethod
    def of(cls, rows: Sequence[tuple[str, str]]) -> TextPairs:
        """Of pairs that hold their texts."""
        sides = [list(dict.fromkeys(row[side] for row in rows)) for side in (0, 1)]
        places = [{text: i for i, text in enumerate(side)} for side in sides]
        pairs = np.array([[places[0][a], places[1][b]] for a, b in rows], np.int64).reshape(-1, 2)
        return cls(sides[0], sides[1], np.unique(pairs, axis=0))

    def take(self, rows: Int64[np.ndarray, " s"]) -> TextPairs:
        """Some pairs with their texts."""
        return TextPairs.of([(self.queries[int(a)], self.documents[int(b)]) for a, b in self.pairs[rows]])


def read_pairs(source: Path | str, *, held_out: float = 0.05) -> tuple[TextPairs, TextPairs]:
    """Pairs to learn from, and others to measure on.

    Of a table, the pairs of some documents are held out, drawn by the documents' own bytes, and asked of these
    documents alone; where there is a column "group", the pairs of some groups instead, so that documents which are
    alike (of one source, one author) are not on both sides. Of a folder in BEIR's form, ``qrels/train.tsv`` and
    ``qrels/test.tsv`` (or dev), asked of the whole corpus.

    Args:
        source: .jsonl, .csv, .tsv or .parquet with the columns query and document (or anchor and positive, question and
            answer, or just two of texts), and perhaps group; or a folder in BEIR's form.
        held_out: share of a table's documents, or of its groups.

    Raises:
        DataError: there is nothing, it is damaged, or too little.
        InputError: no two columns of texts, or a share out of range.
        MissingExtraError: .parquet without pyarrow.
    """
    path = Path(source)
    if not 0 < held_out < 1:
        raise InputError.of("held_out", "between 0 and 1", held_out)
    if path.is_dir():
        return _beir(path)
    rows = [(a, b, part_of(group or b, (held_out,))) for a, b, group in _table(path) if a and b]
    asked, learnt = (TextPairs.of([(a, b) for a, b, part in rows if part == wanted]) for wanted in (0, 1))
    if len(asked) < 2 or len(learnt) < 2:
        raise DataError(f"{path} has {len(rows)} pairs, too few to learn from some and measure on others. Add pairs.")
    return learnt, asked


def write_pairs(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write a table that `read_pairs` reads, whole or not at all.

    Args:
        path: .jsonl.
        rows: query, document and group.
    """
    lines = (json.dumps(dict(zip(("query", "document", _GROUP), row, strict=True)), ensure_ascii=False) for row in rows)
    write_file(path, "".join(f"{line}\n" for line in lines).encode())


def _table(path: Path) -> Iterator[tuple[str, str, str]]:
    """Query, document and group, which may be empty."""
    if not path.is_file():
        raise DataError(f"{path} does not exist. Give a table of pairs or a folder in BEIR's form.")
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise DataError(f"{path} has the ending {path.suffix!r}, which is not read. Use {', '.join(_SUFFIXES)}.")
    if suffix == ".jsonl":
        yield from _objects(path)
    elif suffix == ".parquet":
        yield from _columns(path)
    else:
        yield from _lines(path, "\t" if suffix == ".tsv" else ",")


def _objects(path: Path) -> Iterator[tuple[str, str, str]]:
    chosen: tuple[str, str] | None = None
    for place, line in _json_lines(path):
        if chosen is None:
            chosen = _two([name for name, value in line.items() if isinstance(value, str)], path)
        values = line.get(chosen[0]), line.get(chosen[1])
        if not isinstance(values[0], str) or not isinstance(values[1], str):
            raise DataError(f"Line {place} of {path} has no texts {chosen[0]} and {chosen[1]}. Repair it.")
        yield values[0].strip(), values[1].strip(), str(line.get(_GROUP, ""))


def _lines(path: Path, delimiter: str) -> Iterator[tuple[str, str, str]]:
    csv.field_size_limit(_LONGEST)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, delimiter=delimiter)
            first, second = _two(list(rows.fieldnames or ()), path)
            for row in rows:
                yield (row[first] or "").strip(), (row[second] or "").strip(), row.get(_GROUP) or ""
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}). Convert it to UTF-8 with a line of names.") from error


def _columns(path: Path) -> Iterator[tuple[str, str, str]]:
    parquet, pa = require_extra("pyarrow.parquet"), require_extra("pyarrow")
    try:
        file = parquet.ParquetFile(path)
        texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
        names = list(_two(texts, path))
        grouped = _GROUP in file.schema_arrow.names
        for batch in file.iter_batches(columns=[*names, _GROUP] if grouped else names):
            sides = [batch.column(name).to_pylist() for name in names]
            groups = batch.column(_GROUP).to_pylist() if grouped else [""] * len(batch)
            for a, b, group in zip(*sides, groups, strict=True):
                yield (a or "").strip(), (b or "").strip(), "" if group is None else str(group)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is damaged ({str(error).splitlines()[0]}). Write it again.") from error


def _two(names: Sequence[str], path: Path) -> tuple[str, str]:
    for pair in _NAMES:
        if set(pair) <= set(names):
            return pair
    left = [name for name in names if name != _GROUP]
    if len(left) == 2:
        return left[0], left[1]
    told = ", ".join(names) or "none"
    raise InputError.of(f"{path.name}", "with columns query and document", f"columns {told}", "Rename them.")


def _beir(folder: Path) -> tuple[TextPairs, TextPairs]:
    test = next((name for name in _TESTS if (folder / _QRELS / f"{name}.tsv").is_file()), None)
    missing = [name for name in (_CORPUS, _QUERIES, f"{_QRELS}/train.tsv") if not (folder / name).is_file()]
    if missing or test is None:
        lacks = missing[0] if missing else f"{_QRELS}/test.tsv"
        raise DataError(f"{folder / lacks} does not exist. Give a folder in BEIR's form, or a table of pairs.")
    documents, queries = _texts(folder / _CORPUS), _texts(folder / _QUERIES)
    names = {name: i for i, name in enumerate(documents)}
    asked = {name: i for i, name in enumerate(queries)}

    def pairs(split: str) -> np.ndarray:
        path = folder / _QRELS / f"{split}.tsv"
        found = [(asked[q], names[d]) for q, d in _judgements(path) if q in asked and d in names]
        if len(found) < 2:
            raise DataError(f"{path} names no pairs of {_QUERIES} and {_CORPUS}. Check their ids.")
        return np.unique(np.array(found, np.int64), axis=0)

    texts = list(queries.values()), list(documents.values())
    learnt, tested = pairs("train"), pairs(test)
    whole = TextPairs(*texts, learnt)
    rows = np.unique(tested[:, 0])
    wanted = [texts[0][int(row)] for row in rows]
    tested[:, 0] = np.searchsorted(rows, tested[:, 0])
    return whole.take(np.arange(len(learnt))), TextPairs(wanted, texts[1], tested)


def _texts(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for place, line in _json_lines(path):
        name, text, title = line.get("_id"), line.get("text"), line.get("title", "")
        if not isinstance(name, str | int) or not isinstance(text, str) or not isinstance(title, str):
            raise DataError(f"Line {place} of {path} has no _id and text. Write it in BEIR's form.")
        found[str(name)] = f"{title} {text}".strip()
    return found


def _judgements(path: Path) -> Iterator[tuple[str, str]]:
    """Those with a score above zero; the first line is of names."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for place, line in enumerate(stream):
                cells = line.rstrip("\r\n").split("\t")
                if place and len(cells) == 3 and float(cells[2]) > 0:
                    yield cells[0], cells[1]
                elif place and len(cells) != 3:
                    raise ValueError(f"line {place + 1} has {len(cells)} columns instead of 3")
    except (OSError, UnicodeError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}). Write it in BEIR's form.") from error


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for place, text in enumerate(stream, start=1):
                if not text.strip():
                    continue
                line: Any = json.loads(text)
                if not isinstance(line, dict):
                    raise ValueError(f"line {place} is no object")
                yield place, cast("dict[str, Any]", line)
    except (OSError, UnicodeError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}). Write a JSON object a line.") from error
