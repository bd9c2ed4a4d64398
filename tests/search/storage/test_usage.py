"""Predictions that come true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nestling.errors import DataError, InputError
from nestling.nesting import Nesting
from nestling.search.storage import parts, writer
from nestling.search.storage.usage import described, predict, write_speed
from tests.search.storage.toy import NESTING, TOYS, borders, created, vectors


@pytest.mark.parametrize("ids", ["int64", "string"])
def test_the_disk_takes_what_was_predicted(tmp_path: Path, ids: str) -> None:
    index = parts.add_derived(created(tmp_path / "index", ids=ids), TOYS, ["toy-8"])
    names = None if ids == "int64" else [f"{i:08d}" for i in range(2000)]
    index = writer.add(index, TOYS, vectors(list(range(2000)), 1), names)
    told = predict(2000, NESTING, dtype="float32", ids=ids, id_bytes=8, derived=list(index.derived.values()))
    assert told.disk_bytes == sum(path.stat().st_size for path in (tmp_path / "index" / "parts").iterdir())
    assert told.memory_bytes == described(index)["bytes_in_memory"]
    assert told.seconds > 0
    assert predict(0, NESTING).disk_bytes == 0


def test_the_memory_of_a_build_does_not_grow_for_ever() -> None:
    for rows in (10**6, 10**9, 10**12):
        assert predict(rows, Nesting((64, 2048))).build_bytes < 2 << 30


def test_the_speed_of_a_disk(tmp_path: Path) -> None:
    assert write_speed(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []
    assert predict(10**6, NESTING, path=tmp_path).seconds > 0
    with pytest.raises(DataError, match="cannot be written"):
        write_speed(tmp_path / "nowhere")
    with pytest.raises(InputError, match="rows must be not negative"):
        predict(-1, NESTING)


def test_a_description_of_everything(tmp_path: Path) -> None:
    index = created(tmp_path / "index", dtype="float16")
    index = writer.add(index, TOYS, vectors(list(range(100)), 1), None)
    index = parts.set_partition(index, TOYS, borders(10, 20), ["cells", "toy-8"])
    index = writer.delete(index, TOYS, np.arange(9))[0]
    index = parts.set_plan(index, TOYS, "16:10", None)
    told = described(index)
    assert told["vectors"] == 91
    assert told["deleted"] == 9
    assert told["nesting"] == [4, 8, 16]
    assert told["partition"] == {"name": "by-borders", "cells": 3, "dims": 4}
    disk = told["bytes_on_disk"]
    assert disk["rings"] == 100 * 16 * 2
    assert disk["norms"] == 100 * 3 * 4
    assert disk["ids"] == 800
    assert disk["lookup"] == 1200
    assert disk["toy-8"] == 4096 + 800
    assert disk["cells"] == 400
    assert disk["deleted"] == 13
    assert disk["total"] == sum(size for name, size in disk.items() if name != "total")
    assert told["bytes_in_memory"] == 800 + 13 + 8 + 4096 + 800
