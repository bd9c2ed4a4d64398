"""``nestling data shard``: a tree of pictures, or pictures with captions, as WebDataset shards."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from nestling.data import PictureFiles, View, picture_files
from nestling.data.shards import Written, write_shards
from nestling.errors import DataError
from nestling.studies.watch import Watch

_WANTED = "Name the columns file and caption."
_FILE, _CAPTION = ("file", "file_name", "image", "path"), ("caption", "text")


def shard_tree(
    folder: Path, out: Path, *, val_fraction: float, most: int, seed: int, watch: Watch
) -> dict[str, Written]:
    """Write a tree of one folder per class to ``out/train`` and ``out/val``.

    Args:
        folder: with or without ``train`` and ``val`` inside.
        val_fraction: of each class, where there is no ``val``.
        most: samples of a shard; seed: of their order, and of what is held out.

    Raises:
        DataError, InputError: as of `picture_files` and `write_shards`.
    """
    found = picture_files(folder, View(side=1), val_fraction=val_fraction, seed=seed)
    parts: dict[str, PictureFiles | None] = {"train": found.train, "val": found.val}
    written: dict[str, Written] = {}
    for name, part in parts.items():
        if part is None:
            continue
        with watch.task(f"write {name}") as step:
            written[name] = write_shards(
                part.paths, part.labels.tolist(), out / name, classes=part.classes, most=most, seed=seed, progress=step
            )
    return written


def shard_captions(table: Path, folder: Path, out: Path, *, most: int, seed: int, watch: Watch) -> Written:
    """Write pictures with captions to ``out``.

    Args:
        table: CSV or TSV with a header, or JSON lines, with a column "file" (or "image") and one "caption" (or "text").
        folder: where the files lie.
        most, seed: as of `shard_tree`.

    Raises:
        DataError: the table cannot be read, or lacks a column; or as of `write_shards`.
    """
    pairs = list(_pairs(table))
    with watch.task("write") as step:
        paths = [str(folder / file) for file, _ in pairs]
        return write_shards(paths, [text for _, text in pairs], out, most=most, seed=seed, progress=step)


def tell_written(written: Mapping[str, Written], watch: Watch) -> None:
    """Say how much was written and what was left out."""
    for name, each in written.items():
        size = sum(path.stat().st_size for path in each.shards)
        watch.say(f"{name}: {each.samples:,} samples in {len(each.shards)} shards, {size / 1e6:,.1f} MB")
        if each.faults:
            watch.say(f"Left out {len(each.faults):,} unreadable files, the first: {each.faults[0]}")


def _pairs(table: Path) -> Iterator[tuple[str, str]]:
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            if table.suffix in (".jsonl", ".ndjson", ".json"):
                records: Iterator[Mapping[str, str]] = (json.loads(line) for line in lines if line.strip())
            else:
                records = csv.DictReader(lines, delimiter="\t" if table.suffix == ".tsv" else ",")
            for at, record in enumerate(records, start=1):
                file, text = _column(record, _FILE), _column(record, _CAPTION)
                if file is None or text is None:
                    raise DataError(f"{table} has no file or no caption in record {at}. {_WANTED}")
                yield file, text
    except (OSError, ValueError, AttributeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read ({error}). Give CSV, TSV or JSON lines.") from error


def _column(record: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((str(record[name]) for name in names if record.get(name)), None)
