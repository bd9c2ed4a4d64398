"""Texts that `datasets` saved: the rows of a column of strings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nestling.data.saved.layout import SavedSet, sets
from nestling.errors import InputError

_AT_ONCE = 4096  # rows


def saved_texts(folder: Path, column: str | None) -> Iterator[str]:
    """Of all data sets in the folder, in the order in which they are named there.

    Args:
        column: of strings; the only one, or the one of a usual name, when None.

    Raises:
        DataError: a damaged folder, or one without such a column.
        InputError: no column of strings has that name.
        MissingExtraError: pyarrow is not installed.
    """
    for each in sets(folder).values():
        name = text_column(each, ("text", "sentence", "content"), column)
        for chunk in each.column(name).chunks:
            for at in range(0, len(chunk), _AT_ONCE):
                yield from (cell for cell in chunk.slice(at, _AT_ONCE).to_pylist() if cell is not None)


def text_column(saved: SavedSet, customary: Sequence[str], wanted: str | None = None) -> str:
    """Which column of strings is read; errors as of `saved_texts`."""
    features = saved.features()
    found = [name for name, each in features.items() if each.get("dtype") in ("string", "large_string")]
    if wanted is None:
        return saved.named(found, customary, "a column of texts")
    if wanted not in found:
        raise InputError.of("column", f"one of {', '.join(found)}", repr(wanted), f"({saved.folder})")
    return wanted
