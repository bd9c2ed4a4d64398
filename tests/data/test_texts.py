"""Texts in files, and which part each belongs to."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from nestling.data.parts import of_part, part_of
from nestling.data.texts import text_files
from nestling.errors import DataError, InputError


def _columns(path: Path, **columns: list[object]) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def test_lines_and_columns_of_a_folder_in_the_order_of_their_paths(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes("\ufefföne\r\n\r\n  two \n".encode())
    (tmp_path / "a").mkdir()
    _columns(tmp_path / "a" / "x.parquet", text=["three", None, ""], number=[1, 2, 3])
    (tmp_path / "notes.md").write_text("not read")
    found = text_files(tmp_path)
    assert list(found) == ["three", "öne", "two"]
    assert list(found) == list(found)
    assert list(text_files(tmp_path / "b.txt")) == ["öne", "two"]


def test_a_column_is_named_where_there_are_several(tmp_path: Path) -> None:
    _columns(tmp_path / "x.parquet", title=["a"], body=["b"])
    assert list(text_files(tmp_path / "x.parquet", column="body")) == ["b"]
    for column in (None, "text"):
        with pytest.raises(InputError, match="column must be one of title, body"):
            list(text_files(tmp_path / "x.parquet", column=column))
    _columns(tmp_path / "y.parquet", number=[1])
    with pytest.raises(InputError, match="which the file lacks"):
        list(text_files(tmp_path / "y.parquet"))


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    for name, words in (("none.txt", "does not exist"), (".", "holds no file that ends in .txt or .parquet")):
        with pytest.raises(DataError, match=words):
            text_files(tmp_path / name)
    (tmp_path / "x.csv").write_text("a")
    with pytest.raises(DataError, match=r"has the ending '\.csv'"):
        text_files(tmp_path / "x.csv")
    (tmp_path / "latin.txt").write_bytes("gr\xfcn".encode("latin-1"))
    with pytest.raises(DataError, match="cannot be read as UTF-8"):
        list(text_files(tmp_path / "latin.txt"))
    _columns(tmp_path / "x.parquet", text=["whole"])
    (tmp_path / "x.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"x\.parquet cannot be read"):
        list(text_files(tmp_path / "x.parquet"))


def test_another_file_is_another_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    before = text_files(tmp_path).fingerprint()
    assert before == text_files(tmp_path).fingerprint()
    assert before != text_files(tmp_path, column="x").fingerprint()
    (tmp_path / "b.txt").write_text("two")
    assert before != text_files(tmp_path).fingerprint()


def test_a_text_s_part_is_its_own_and_the_shares_are_kept() -> None:
    texts = [f"text {i}" for i in range(20_000)]
    parts = [list(of_part(texts, part, (0.7, 0.1))) for part in range(3)]
    assert sorted(text for part in parts for text in part) == sorted(texts)
    assert [len(part) / len(texts) for part in parts] == pytest.approx([0.7, 0.1, 0.2], abs=0.01)
    for text in texts[:100]:  # on every machine: the digest read as a number
        lot = int(hashlib.sha256(text.encode()).hexdigest(), 16) / 2**256
        assert part_of(text, (0.7, 0.1)) == (0 if lot < 0.7 else 1 if lot < 0.8 else 2)
