"""What is wrong although every checksum is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nestling.errors import CorruptIndexError
from nestling.search.storage import writer
from nestling.search.storage.blocks import FileEntry, Section, digest, layout
from nestling.search.storage.manifest import load, save
from nestling.search.storage.segment import dead_sections, row_sections
from tests.search.storage.toy import TOYS, created, opened, vectors

Change = Callable[[dict[str, np.ndarray]], None]


def rewritten(folder: Path, entry: FileEntry, sections: list[Section], change: Change) -> FileEntry:
    """Change sections of a file and compute its checksums anew."""
    path = folder / "parts" / entry.file
    data = bytearray(path.read_bytes())
    offsets, _ = layout(sections)
    arrays = {s.name: np.ndarray(s.shape, s.dtype, data, offsets[s.name]) for s in sections}
    change(arrays)
    path.write_bytes(data)
    return replace(entry, hashes={name: digest(array) for name, array in arrays.items()})


def lying(folder: Path, change: Change) -> None:
    """Change the rows file of the first segment, its checksums and the manifest's."""
    manifest, _ = load(folder)
    first, *others = manifest.segments
    sections = row_sections(manifest, manifest.ids or "int64", first.rows, first.text_bytes)
    entry = rewritten(folder, first.rows_file, sections, change)
    save(folder, replace(manifest, segments=(replace(first, rows_file=entry), *others)))


def put(name: str, at: int, value: int) -> Change:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name][at] = value

    return change


def swap(name: str) -> Change:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name][[2, 3]] = arrays[name][[3, 2]]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("ids", 5, -1), "section ids holds negative numbers"),
        (put("ids", 5, 77), "sections keys and key_rows do not lead to its ids"),
        (put("ids", 5, 6), "sections keys and key_rows do not lead"),
        (put("keys", 5, 0), "section keys is not sorted"),
        (swap("keys"), "section keys is not sorted"),
        (swap("key_rows"), "sections keys and key_rows"),
        (put("key_rows", 0, 10), "sections keys and key_rows"),
        (put("key_rows", 0, 1), "sections keys and key_rows"),
    ],
)
def test_numbers(tmp_path: Path, change: Change, words: str) -> None:
    index = created(tmp_path / "index")
    writer.add(index, TOYS, vectors(list(range(10)), 1), None)
    lying(index.folder, change)
    opened(index.folder).locate(np.arange(10))
    with pytest.raises(CorruptIndexError, match=f"rows is damaged: its {words}"):
        opened(index.folder, verify=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("id_offsets", 0, 1), "section id_offsets does not cut id_text"),
        (put("id_offsets", 10, 1), "section id_offsets does not cut id_text"),
        (put("id_offsets", 4, 9), "section id_offsets does not cut id_text"),
        (put("id_offsets", 4, 3), "sections keys and key_rows"),
        (put("id_text", 3, 255), "not UTF-8"),
        (put("id_text", 3, 65), "sections keys and key_rows"),
        (swap("keys"), "section keys is not sorted"),
        (swap("key_rows"), "sections keys and key_rows"),
        (put("key_rows", 0, 2**32 - 1), "sections keys and key_rows"),
    ],
)
def test_texts(tmp_path: Path, change: Change, words: str) -> None:
    index = created(tmp_path / "index")
    writer.add(index, TOYS, vectors(list(range(10)), 1), [str(i) for i in range(10)])
    lying(index.folder, change)
    opened(index.folder)
    with pytest.raises(CorruptIndexError, match=words):
        opened(index.folder, verify=True)


def test_an_id_in_two_segments(tmp_path: Path) -> None:
    index = created(tmp_path / "index")
    index = writer.add(index, TOYS, vectors([1, 2], 1), [1, 2])
    writer.add(index, TOYS, vectors([3], 1), [3])
    lying(index.folder, lambda arrays: (put("ids", 1, 3)(arrays), put("keys", 1, 3)(arrays))[0])
    with pytest.raises(CorruptIndexError, match="is damaged: an id occurs twice"):
        opened(index.folder, verify=True)


def test_an_id_that_would_be_given_out_again(tmp_path: Path) -> None:
    index = created(tmp_path / "index")
    index = writer.add(index, TOYS, vectors([1, 2], 1), [1, 2])
    save(index.folder, replace(index.manifest, next_id=2))
    with pytest.raises(CorruptIndexError, match="next_id was given out already"):
        opened(index.folder, verify=True)


def test_other_deleted_rows_than_are_counted(tmp_path: Path) -> None:
    index = created(tmp_path / "index")
    index = writer.add(index, TOYS, vectors(list(range(10)), 1), None)
    index, _ = writer.delete(index, TOYS, [1, 2])
    manifest = index.manifest
    (segment,) = manifest.segments
    assert segment.dead is not None
    entry = rewritten(index.folder, segment.dead, dead_sections(10), put("dead", 0, 0b111))
    save(index.folder, replace(manifest, segments=(replace(segment, dead=entry),)))
    with pytest.raises(CorruptIndexError, match="dead is damaged: it marks other rows than the manifest counts"):
        opened(index.folder, verify=True)


def test_nothing_is_wrong_with_a_good_index(tmp_path: Path) -> None:
    index = created(tmp_path / "index")
    index = writer.add(index, TOYS, vectors(list(range(50)), 1), [str(i) for i in range(50)])
    index, _ = writer.delete(index, TOYS, ["7"])
    index = writer.add(index, TOYS, vectors([7], 2), ["7"])
    assert len(opened(index.folder, verify=True)) == 50
