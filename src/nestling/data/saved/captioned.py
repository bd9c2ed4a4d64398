"""Pictures with captions that `datasets` saved: a column of pictures and one of texts."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from nestling.data.decoding import Decoder, View
from nestling.data.parts import held_out_texts
from nestling.data.samples import Fault, Sample, Samples
from nestling.data.saved.layout import SavedSet, picture_of, training_and_validation
from nestling.data.saved.pictures import picture_column
from nestling.data.saved.texts import text_column
from nestling.data.tokens import Tokenizer
from nestling.errors import DataError, InputError

_CAPTIONS = ("caption", "text", "captions", "sentence")


class SavedCaptions(Samples):
    """Rows of a data set; the target is a caption's token ids.

    Args:
        saved: the data set; columns: of its pictures and of their captions.
        rows: n of its rows.
        view, tokenizer, longest, strict: as of `CaptionedFiles`.
    """

    def __init__(
        self,
        saved: SavedSet,
        columns: tuple[str, str],
        rows: Int64[np.ndarray, " n"],
        view: View,
        *,
        tokenizer: Tokenizer,
        longest: int = 32,
        strict: bool = False,
    ) -> None:
        self.saved, self.columns, self.rows = saved, columns, rows
        self.view, self.tokenizer, self.longest, self.strict = view, tokenizer, longest, strict
        self._decoder: Decoder | None = None
        self._read: tuple[Any, Any] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_decoder": None, "_read": None}

    def fingerprint(self) -> dict[str, int]:
        """The number of rows, where they are, and how both are seen."""
        seen = zlib.crc32(f"{self.view} {self.longest}".encode(), zlib.crc32(self.tokenizer.text().encode()))
        return {"samples": len(self), "rows": zlib.crc32(self.rows.tobytes(), self.saved.digest()), "view": seen}

    def name(self, row: int) -> str:
        """Its folder and its row there."""
        return f"{self.saved.folder}/{int(self.rows[row])}"

    def one(self, row: int, epoch: int, rng: np.random.Generator | None) -> Sample | Fault:
        """A picture (c, side, side) as bytes, and its caption's (longest,) ids."""
        del epoch
        if self._read is None or self._decoder is None:
            picture, caption = (self.saved.column(name) for name in self.columns)
            self._read, self._decoder = (picture, caption), Decoder()
        pictures, captions = self._read
        source = picture_of(pictures[int(self.rows[row])].as_py())
        if source is None:
            return Fault(self.name(row), "it has no picture")
        found = self._decoder.attempt(source, self.view, rng)
        if isinstance(found, str):
            return Fault(self.name(row), found)
        caption = captions[int(self.rows[row])].as_py()
        return Sample(found, self.tokenizer.filled(" ".join(caption.split()), self.longest))

    def take(self, rows: Int64[np.ndarray, " r"]) -> SavedCaptions:
        """Some of them, in this order."""
        return SavedCaptions(
            self.saved,
            self.columns,
            self.rows[rows],
            self.view,
            tokenizer=self.tokenizer,
            longest=self.longest,
            strict=self.strict,
        )


def saved_captions(
    folder: Path | str,
    view: View,
    *,
    tokenizer: Tokenizer,
    longest: int = 32,
    val_fraction: float | int = 0.1,
    strict: bool = False,
) -> tuple[SavedCaptions, SavedCaptions | None]:
    """Training and validation pairs; nothing is decoded, and rows without a caption are left out.

    Validation is the part named so, else captions held out by their own bytes: equal captions are on one side.

    Args:
        folder: of ``save_to_disk``; others as of `captioned_files`.

    Raises:
        DataError: a folder that `datasets` did not save so, damaged, without such columns, or without captions.
        InputError: the share is not from 0 to below 1, or leaves no captions to a part.
        MissingExtraError: pyarrow is not installed.
    """
    if not 0 <= val_fraction < 1:
        raise InputError.of("val_fraction", "at least 0 and below 1", val_fraction)

    def opened(saved: SavedSet) -> tuple[SavedCaptions, list[str]]:
        columns = picture_column(saved), text_column(saved, _CAPTIONS)
        captions = [" ".join((each or "").split()) for each in saved.column(columns[1]).to_pylist()]
        rows = np.array([row for row, caption in enumerate(captions) if caption], np.int64)
        if not len(rows):
            raise DataError(f"{saved.folder} holds no captions. Save one that has pictures and texts.")
        whole = SavedCaptions(saved, columns, rows, view, tokenizer=tokenizer, longest=longest, strict=strict)
        return whole, [captions[row] for row in rows]

    first, beside = training_and_validation(Path(folder))
    train, captions = opened(first)
    if beside is not None:
        return train, opened(beside)[0]
    if val_fraction == 0:
        return train, None
    held = held_out_texts(captions, val_fraction)
    return train.take(np.flatnonzero(~held)), train.take(np.flatnonzero(held))
