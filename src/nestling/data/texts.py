"""Texts in files: one a line of .txt, a column of .parquet, all such files of a folder, or what `datasets` saved."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nestling.data.saved.layout import is_saved
from nestling.data.saved.texts import saved_texts
from nestling.errors import DataError, InputError, require_extra

_SUFFIXES = (".txt", ".parquet")
_AT_ONCE = 4096  # rows of a column


@dataclass(frozen=True, slots=True)
class TextFiles:
    """Texts that are read when they are wanted, in constant memory; empty ones are passed over.

    Attributes:
        files: in the order of their paths; or one folder that `datasets` saved.
        column: of the .parquet files or of the folder; the only one of strings when None.
    """

    files: tuple[Path, ...]
    column: str | None = None

    def __iter__(self) -> Iterator[str]:
        """The texts, without the spaces around them.

        Raises:
            DataError: a file cannot be read, or is no UTF-8.
            InputError: no such column, or several to choose from.
            MissingExtraError: .parquet without pyarrow.
        """
        for file in self.files:
            yield from (text for line in self._read(file) if (text := line.strip()))

    def _read(self, file: Path) -> Iterator[str]:
        if file.is_dir():
            return saved_texts(file, self.column)
        return _lines(file) if file.suffix.lower() == ".txt" else _cells(file, self.column)

    def fingerprint(self) -> int:
        """What tells these files from others: their names, sizes and times."""
        all_files = [each for file in self.files for each in (sorted(file.rglob("*.*")) if file.is_dir() else [file])]
        facts = [(file.name, (about := file.stat()).st_size, about.st_mtime_ns) for file in all_files]
        return zlib.crc32(repr((facts, self.column)).encode())


def text_files(source: Path | str, *, column: str | None = None) -> TextFiles:
    """The texts of a file, of all .txt and .parquet files below a folder, or of a folder that `datasets` saved.

    Args:
        column: of strings, for .parquet and for `datasets`; needed only where there are several.

    Raises:
        DataError: there is nothing, or no such file in the folder.
    """
    path = Path(source)
    if is_saved(path):
        return TextFiles((path,), column)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
        if not found:
            raise DataError(f"{path} holds no file that ends in {' or '.join(_SUFFIXES)}. Write one text a line.")
        return TextFiles(tuple(found), column)
    if not path.is_file():
        raise DataError(f"{path} does not exist. Give a file of texts, one a line, or a folder of such files.")
    if path.suffix.lower() not in _SUFFIXES:
        raise DataError(f"{path} has the ending {path.suffix!r}, which is not read. Use {' or '.join(_SUFFIXES)}.")
    return TextFiles((path,), column)


def _lines(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8-sig") as stream:
            yield from stream
    except (OSError, UnicodeError) as error:
        raise DataError(f"{file} cannot be read as UTF-8 text ({error}). Convert it.") from error


def _cells(file: Path, column: str | None) -> Iterator[str]:
    arrow, parquet = require_extra("pyarrow"), require_extra("pyarrow.parquet")
    try:
        with file.open("rb") as stream, parquet.ParquetFile(stream) as table:
            strings = arrow.string(), arrow.large_string()
            chosen = _chosen([field.name for field in table.schema_arrow if field.type in strings], column, file)
            for batch in table.iter_batches(_AT_ONCE, columns=[chosen]):
                yield from (cell for cell in batch.column(0).to_pylist() if cell is not None)
    except (OSError, arrow.ArrowException, UnicodeError) as error:
        raise DataError(f"{file} cannot be read ({error}). Write it again.") from error


def _chosen(named: Sequence[str], column: str | None, file: Path) -> str:
    if column is None and len(named) == 1:
        return named[0]
    if column not in named:
        wanted = f"one of {', '.join(named)}" if named else "a column of strings, which the file lacks"
        raise InputError.of("column", wanted, repr(column), f"({file})")
    assert column is not None
    return column
