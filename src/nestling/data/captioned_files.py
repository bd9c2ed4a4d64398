"""Pictures in files with their captions beside them: ``any/where/0001.jpg`` and ``any/where/0001.txt``."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from nestling.data.decoding import Decoder, View
from nestling.data.parts import held_out_texts
from nestling.data.samples import Fault, Sample, Samples
from nestling.data.tokens import Tokenizer
from nestling.data.tree import Unreadable, check_listed, images_below
from nestling.errors import DataError, InputError

_VALIDATION = ("val", "validation", "valid", "test")


class CaptionedFiles(Samples):
    """Files with captions; the target is a caption's token ids.

    Args:
        paths: n files; captions: n texts.
        view: how a picture is seen; draws only where a generator is given.
        tokenizer: reads captions; longest: tokens to which all are cut or filled.
        strict: as of `Samples`.
    """

    def __init__(
        self,
        paths: Sequence[str],
        captions: Sequence[str],
        view: View,
        *,
        tokenizer: Tokenizer,
        longest: int = 32,
        strict: bool = False,
    ) -> None:
        self.paths, self.captions = tuple(paths), tuple(captions)
        self.view, self.tokenizer, self.longest, self.strict = view, tokenizer, longest, strict
        self._decoder: Decoder | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_decoder": None}

    def fingerprint(self) -> dict[str, int]:
        """The number of files, their captions, and how both are seen."""
        captions = zlib.crc32("\n".join(self.captions).encode())
        seen = zlib.crc32(f"{self.view} {self.longest}".encode(), zlib.crc32(self.tokenizer.text().encode()))
        return {"samples": len(self), "captions": captions, "view": seen}

    def name(self, row: int) -> str:
        """Its path."""
        return self.paths[row]

    def one(self, row: int, epoch: int, rng: np.random.Generator | None) -> Sample | Fault:
        """A picture (c, side, side) as bytes, and its caption's (longest,) ids."""
        del epoch
        if self._decoder is None:
            self._decoder = Decoder()
        found = self._decoder.attempt(Path(self.paths[row]), self.view, rng)
        if isinstance(found, str):
            return Fault(self.paths[row], found)
        return Sample(found, self.tokenizer.filled(self.captions[row], self.longest))

    def take(self, rows: Int64[np.ndarray, " r"]) -> CaptionedFiles:
        """Some of them, in this order."""
        paths, captions = ([each[int(row)] for row in rows] for each in (self.paths, self.captions))
        return CaptionedFiles(
            paths, captions, self.view, tokenizer=self.tokenizer, longest=self.longest, strict=self.strict
        )


@dataclass(frozen=True, eq=False)
class CaptionedTree:
    """What `captioned_files` found.

    Attributes:
        train: to train on; val: held out, None with val_fraction=0.
        silent: pictures without a caption, which were left out.
        unreadable: folders that may not be listed.
    """

    train: CaptionedFiles
    val: CaptionedFiles | None
    silent: int
    unreadable: tuple[Unreadable, ...]


def captioned_files(
    folder: Path | str,
    view: View,
    *,
    tokenizer: Tokenizer,
    longest: int = 32,
    val_fraction: float | int = 0.1,
    strict: bool = False,
) -> CaptionedTree:
    """Pictures of a tree of any form that have a caption beside them; ``train`` and ``val`` inside are the two parts.

    Without them captions are held out by their own bytes: equal captions are on one side.

    Args:
        folder: of the tree.
        view, tokenizer, longest, strict: as of `CaptionedFiles`.
        val_fraction: the share of the captions that is held out.

    Raises:
        InputError: the share is not from 0 to below 1.
        DataError: no such folder, no picture with a caption in a part, or a caption that cannot be read.
    """
    if not 0 <= val_fraction < 1:
        raise InputError.of("val_fraction", "at least 0 and below 1", val_fraction)
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root} is no folder. Give one of pictures, with name.txt beside each name.jpg.")

    unreadable: list[Unreadable] = []

    def files(paths: Sequence[str], captions: Sequence[str]) -> CaptionedFiles:
        return CaptionedFiles(paths, captions, view, tokenizer=tokenizer, longest=longest, strict=strict)

    beside = next((root / name for name in _VALIDATION if (root / name).is_dir()), None)
    if (root / "train").is_dir() and beside is not None:
        (*train, one), (*val, other) = _listed(root / "train", unreadable), _listed(beside, unreadable)
        check_listed(unreadable, strict=strict)
        return CaptionedTree(files(*train), files(*val), one + other, tuple(unreadable))
    paths, captions, silent = _listed(root, unreadable)
    check_listed(unreadable, strict=strict)
    whole = files(paths, captions)
    if val_fraction == 0:
        return CaptionedTree(whole, None, silent, tuple(unreadable))
    held = held_out_texts(captions, val_fraction)
    return CaptionedTree(whole.take(np.flatnonzero(~held)), whole.take(np.flatnonzero(held)), silent, tuple(unreadable))


def _listed(root: Path, unreadable: list[Unreadable]) -> tuple[list[str], list[str], int]:
    """Paths and captions, in the order of the paths, and how many pictures have none."""
    paths, captions, silent = list[str](), list[str](), 0
    for path in sorted(images_below(root, unreadable)):
        caption = _caption(path.with_suffix(".txt"))
        if caption:
            paths.append(str(path))
            captions.append(caption)
        else:
            silent += 1
    if not paths:
        why = f"{silent:,} pictures, and none with name.txt beside it" if silent else "no pictures"
        raise DataError(f"{root} holds {why}. Give a folder of name.jpg and name.txt.")
    return paths, captions, silent


def _caption(path: Path) -> str:
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text ({error}). Repair or remove it.") from error
