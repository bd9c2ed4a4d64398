"""The manifest is read as if an enemy wrote it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.errors import CorruptIndexError, IndexVersionError
from nestling.search.storage import fields
from nestling.search.storage.blocks import FileEntry
from nestling.search.storage.manifest import Manifest, PartitionEntry, SegmentEntry, load, save, stamp

HASH = "0123456789abcdef"


def file(number: int, kind: str = "rows", size: int = 4096) -> FileEntry:
    return FileEntry(f"{number:016x}.{kind}", size, {"ids": HASH})


def segment(number: int, **changes: Any) -> SegmentEntry:
    parts = {"copy-64,2048": file(number + 1, "copy"), "cells": file(number + 2, "cells")}
    return SegmentEntry(f"{number:016x}", 100, file(number), derived=parts, **changes)


FULL = Manifest(
    dims=(4, 8, 16),
    metric="ip",
    dtype="float32",
    ids="string",
    next_id=1 << 63,
    generation=7,
    segments=(segment(1, text_bytes=5), segment(10, dead=file(13, "dead"), dead_count=99)),
    derived=("copy-64,2048", "cells"),
    partition=PartitionEntry("k-means", "kmeans", 1024, 8, file(20, "partition")),
    plan="16@8:200,2048:10",
    tuned={"recall": 0.991, "é": [1, None, True, {"x": 1e-300}]},
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    for one in (FULL, Manifest((1,), "cosine", "float16")):
        save(tmp_path, one)
        assert load(tmp_path) == (one, stamp(tmp_path))


def test_another_manifest_has_another_stamp(tmp_path: Path) -> None:
    save(tmp_path, FULL)
    before = stamp(tmp_path)
    save(tmp_path, FULL)
    assert stamp(tmp_path) != before


def test_any_changed_byte_is_found(tmp_path: Path) -> None:
    save(tmp_path, FULL)
    path = tmp_path / "manifest.json"
    data = path.read_bytes()
    for at in range(0, len(data), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        with pytest.raises(CorruptIndexError, match=r"manifest.json is damaged: .*\. Restore the index"):
            load(tmp_path)
    for cut in range(0, len(data), 7):
        path.write_bytes(data[:cut])
        with pytest.raises(CorruptIndexError):
            load(tmp_path)


Change = Callable[[dict[str, Any]], Any]
LIES: list[tuple[str, Change]] = [
    ("unknown key", lambda m: m.update(more=1)),
    ("missing key", lambda m: m.pop("plan")),
    ("dims of text", lambda m: m.update(dims=["4", 8])),
    ("no dims", lambda m: m.update(dims=[])),
    ("falling dims", lambda m: m.update(dims=[8, 4])),
    ("equal dims", lambda m: m.update(dims=[8, 8])),
    ("zero dims", lambda m: m.update(dims=[0, 8])),
    ("huge dims", lambda m: m.update(dims=[4, 1 << 62])),
    ("dims of bool", lambda m: m.update(dims=[True, 8])),
    ("dims of float", lambda m: m.update(dims=[4.0, 8])),
    ("dims an object", lambda m: m.update(dims={"4": 8})),
    ("metric", lambda m: m.update(metric="manhattan")),
    ("metric with newline", lambda m: m.update(metric="ip\n")),
    ("dtype", lambda m: m.update(dtype="object")),
    ("dtype null", lambda m: m.update(dtype=None)),
    ("ids", lambda m: m.update(ids="bytes")),
    ("ids null", lambda m: m.update(ids=None)),
    ("ids int64 with text", lambda m: m.update(ids="int64")),
    ("next_id", lambda m: m.update(next_id=-1)),
    ("next_id huge", lambda m: m.update(next_id=(1 << 63) + 1)),
    ("generation", lambda m: m.update(generation=-1)),
    ("format 0", lambda m: m.update(format=0)),
    ("format text", lambda m: m.update(format="1")),
    ("format true", lambda m: m.update(format=True)),
    ("needs", lambda m: m.update(needs="0.1; rm")),
    ("plan", lambda m: m.update(plan=5)),
    ("plan long", lambda m: m.update(plan="x" * 20000)),
    ("tuned", lambda m: m.update(tuned=[1])),
    ("derived twice", lambda m: m.update(derived=["cells", "cells"])),
    ("derived fewer", lambda m: m.update(derived=["cells"])),
    ("derived path", lambda m: m.update(derived=["../cells", "cells"])),
    ("segments", lambda m: m.update(segments={})),
    ("segment twice", lambda m: m["segments"].append(copy.deepcopy(m["segments"][0]))),
    ("segment of null", lambda m: m["segments"].append(None)),
    ("name twice", lambda m: m["segments"][1].update(name=m["segments"][0]["name"])),
    ("no rows", lambda m: m["segments"][0].update(rows=0)),
    ("rows negative", lambda m: m["segments"][0].update(rows=-100)),
    ("rows huge", lambda m: m["segments"][0].update(rows=10**30)),
    ("rows text", lambda m: m["segments"][0].update(rows="100")),
    ("text_bytes", lambda m: m["segments"][0].update(text_bytes=-1)),
    ("all dead", lambda m: m["segments"][1].update(dead_count=100)),
    ("dead without count", lambda m: m["segments"][1].update(dead_count=0)),
    ("count without dead", lambda m: m["segments"][1].update(dead=None)),
    ("path", lambda m: m["segments"][0]["rows_file"].update(file="../../etc/passwd")),
    ("absolute", lambda m: m["segments"][0]["rows_file"].update(file="/etc/passwd")),
    ("slash", lambda m: m["segments"][0]["rows_file"].update(file=f"{HASH}.rows/x")),
    ("newline", lambda m: m["segments"][0]["rows_file"].update(file=f"{HASH}.rows\n")),
    ("nul", lambda m: m["segments"][0]["rows_file"].update(file=f"{HASH}.rows\0")),
    ("empty name", lambda m: m["segments"][0]["rows_file"].update(file="")),
    ("file twice", lambda m: m["segments"][0]["rows_file"].update(file=m["segments"][1]["rows_file"]["file"])),
    ("bytes", lambda m: m["segments"][0]["rows_file"].update(bytes=-1)),
    ("bytes float", lambda m: m["segments"][0]["rows_file"].update(bytes=4096.0)),
    ("hash", lambda m: m["segments"][0]["rows_file"]["hashes"].update(ids="x")),
    ("hashes", lambda m: m["segments"][0]["rows_file"].update(hashes=[])),
    ("cells", lambda m: m["partition"].update(cells=0)),
    ("partition dims", lambda m: m["partition"].update(dims=17)),
    ("partition kind", lambda m: m["partition"].update(kind="K Means")),
]


@pytest.mark.parametrize(("name", "change"), LIES, ids=[name for name, _ in LIES])
def test_lies_with_a_right_checksum(tmp_path: Path, name: str, change: Change) -> None:
    body = copy.deepcopy(FULL.to_json())
    change(body)
    (tmp_path / "manifest.json").write_bytes(fields.render(body))
    with pytest.raises(CorruptIndexError, match=r"manifest.json is damaged: .*\. Restore the index from a copy"):
        load(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[1]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format":' + b"9" * 10_000 + b"}",
        b'{"checksum":"0","format":NaN}',
        b'{"a":1,"a":2,"checksum":"0"}',
        b'{"checksum":"\\ud800"}',
    ],
)
def test_what_is_no_manifest(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(data)
    with pytest.raises(CorruptIndexError, match="is damaged"):
        load(tmp_path)


def test_json_said_in_another_way_is_not_what_was_written(tmp_path: Path) -> None:
    save(tmp_path, FULL)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    with pytest.raises(CorruptIndexError, match="checksum"):
        load(tmp_path)


@pytest.mark.parametrize("make", ["missing", "folder", "fifo"])
def test_a_manifest_that_is_no_file(tmp_path: Path, make: str) -> None:
    path = tmp_path / "manifest.json"
    if make == "folder":
        path.mkdir()
    elif make == "fifo":
        import os

        os.mkfifo(path)
    with pytest.raises(CorruptIndexError):
        load(tmp_path)


def test_a_newer_format_says_what_is_needed(tmp_path: Path) -> None:
    body = {"format": 2, "needs": "3.1", "whatever": [1, 2]}
    (tmp_path / "manifest.json").write_bytes(fields.render(body))
    with pytest.raises(IndexVersionError, match=r"has the format 2, and .* up to 1\. Install nestling>=3\.1\."):
        load(tmp_path)
    (tmp_path / "manifest.json").write_bytes(fields.render({"format": 99, "needs": 7}))
    with pytest.raises(IndexVersionError, match="a newer nestling"):
        load(tmp_path)
    damaged = fields.render(body).replace(b'"format":2', b'"format":3')
    (tmp_path / "manifest.json").write_bytes(damaged)
    with pytest.raises(CorruptIndexError):  # not the right advice: a flipped bit is no newer version
        load(tmp_path)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([HASH, "cells"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_anything_anywhere_loads_or_is_damaged(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    body: Any = copy.deepcopy(FULL.to_json())
    node: Any = body
    while True:  # walk to a random place and put a random value there
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else list(range(len(node)))))
        if isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
            node = node[key]
        else:
            node[key] = data.draw(ANYTHING)
            break
    folder = tmp_path_factory.mktemp("index")
    try:
        (folder / "manifest.json").write_bytes(fields.render(body))
    except ValueError:  # NaN is no JSON
        return
    told = ""
    try:
        loaded, _ = load(folder)
        assert fields.render(loaded.to_json()) == fields.render(body)
    except (CorruptIndexError, IndexVersionError) as error:
        told = str(error)
    assert "\n" not in told
