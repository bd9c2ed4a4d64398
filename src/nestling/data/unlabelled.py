"""Pictures without classes: a file, or every picture below a folder, decoded batch by batch and never all held."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from nestling.data.decoding import Decoder, View
from nestling.data.tree import SUFFIXES, Unreadable, images_below
from nestling.errors import DataError, InputError

_Tiles = Iterator[UInt8[np.ndarray, "c s s"] | str]


class PictureBatch(NamedTuple):
    """Some of the pictures, in order.

    Attributes:
        paths: of those that could be read; pixels: (b, c, s, s) of the same.
        unreadable: the others.
    """

    paths: tuple[Path, ...]
    pixels: UInt8[np.ndarray, "b c s s"]
    unreadable: tuple[Unreadable, ...]


class UnlabelledPictures:
    """The pictures of a tree of any form, or a single file; listed anew in every pass.

    In memory are the names of one folder and two batches. Hidden files and folders are left out.

    Args:
        root: a file, or the tree.
        view: how a picture is seen; nothing is drawn.

    Attributes:
        unlisted: the folders that could not be listed in the last pass.

    Raises:
        DataError: there is no such file or folder.
        MissingExtraError: Pillow is not installed.
    """

    def __init__(self, root: Path | str, view: View) -> None:
        self.root, self.view = Path(root), view
        self.unlisted: list[Unreadable] = []
        self._decoder = Decoder()
        if not os.path.lexists(self.root):
            raise DataError(f"{self.root} does not exist. Give a picture or a folder of pictures.")

    def __iter__(self) -> Iterator[Path]:
        self.unlisted = []
        return images_below(self.root, self.unlisted) if self.root.is_dir() else iter((self.root,))

    def count(self) -> int:
        """How many there are; nothing is decoded.

        Raises:
            DataError: none.
        """
        found = sum(1 for _ in self)
        if not found:
            reason = f" ({self.unlisted[0].path}: {self.unlisted[0].reason})" if self.unlisted else ""
            raise DataError(f"{self.root} holds no pictures{reason}. Give files that end in {' '.join(SUFFIXES)}.")
        return found

    def batches(self, *, size: int = 256, strict: bool = False, workers: int | None = None) -> Iterator[PictureBatch]:
        """Decode in threads; the next batch while this one is used.

        Args:
            size: pictures of a batch.
            strict: raise on the first file that cannot be read.
            workers: decoding threads; by default one per core, at most 8.

        Raises:
            InputError: `size` or `workers` is below 1.
            DataError: with `strict`, a file that cannot be read.
        """
        workers = min(8, os.cpu_count() or 1) if workers is None else workers
        if size < 1 or workers < 1:
            raise InputError.of("size and workers", "at least 1", f"{size} and {workers}")
        paths, waiting = iter(self), None
        with ThreadPoolExecutor(workers) as pool:
            while chunk := tuple(islice(paths, size)):
                begun = chunk, pool.map(partial(self._decoder.attempt, view=self.view), chunk)
                if waiting is not None:
                    yield self._stacked(*waiting, strict)
                waiting = begun
            if waiting is not None:
                yield self._stacked(*waiting, strict)

    def _stacked(self, paths: tuple[Path, ...], tiles: _Tiles, strict: bool) -> PictureBatch:
        read: list[Path] = []
        unreadable: list[Unreadable] = []
        pixels = np.empty((len(paths), self.view.channels, self.view.side, self.view.side), np.uint8)
        for path, tile in zip(paths, tiles, strict=True):
            if isinstance(tile, np.ndarray):
                pixels[len(read)] = tile
                read.append(path)
            elif strict:
                raise DataError(f"{path} cannot be read: {tile}. Repair or remove it.")
            else:
                unreadable.append(Unreadable(str(path), tile))
        return PictureBatch(tuple(read), pixels[: len(read)], tuple(unreadable))
