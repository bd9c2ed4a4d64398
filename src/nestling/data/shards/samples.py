"""Pictures with classes or captions out of shards."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from nestling.data.decoding import Decoder, View
from nestling.data.picture_files import Growing
from nestling.data.samples import Fault, Order, Sample, Samples
from nestling.data.shards.manifest import Manifest, Progress, manifest_of
from nestling.data.shards.order import MOST_LANES, ShardOrder
from nestling.data.shards.place import Copies, listed
from nestling.data.shards.tar import Place, TarIndex, index_of
from nestling.data.tokens import Tokenizer
from nestling.errors import DataError, InputError

PICTURES = ("jpg", "jpeg", "png", "webp", "bmp", "gif")
_OPEN = MOST_LANES  # shards that a reader holds: those that a batch reads from, or each would be opened for each batch
_ANY = ("utf-8", "surrogateescape")  # names of files need not be UTF-8


class Shards(Samples):
    """Samples of shards; the target is the class, or the caption's token ids.

    Args:
        names: files or URLs; manifest: what they hold.
        view, growing: as of `PictureFiles`.
        tokenizer: reads ``.txt`` as the target; None for ``.cls``.
        labelled: without classes is an error; else all samples are of one class without a name.
        longest: tokens of a caption, to which all are cut or filled.
        strict: as of `Samples`.

    Raises:
        InputError: classes were wanted, and there are none.
    """

    def __init__(
        self,
        names: Sequence[str],
        manifest: Manifest,
        view: View,
        *,
        growing: Growing | None = None,
        tokenizer: Tokenizer | None = None,
        longest: int = 32,
        labelled: bool = True,
        strict: bool = False,
    ) -> None:
        if not labelled and not manifest.classes:
            manifest, tokenizer = replace(manifest, classes=("",)), None
        if tokenizer is None and not manifest.classes:
            raise InputError.of("the shards", "of samples with a .cls file", "none", "Train on their texts instead.")
        self.names, self.manifest, self.view, self.growing = tuple(names), manifest, view, growing
        self.tokenizer, self.longest, self.labelled, self.strict = tokenizer, longest, labelled, strict
        self.counts = np.array(manifest.counts, np.int64)
        self.ends = np.cumsum(self.counts)
        self._forget()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, or their numbers."""
        return self.manifest.classes

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_decoder": None, "_copies": None, "_indexes": None}

    def fingerprint(self) -> dict[str, int]:
        """The numbers of samples, the classes, and how pictures are seen."""
        seen = f"{self.view} {self.growing} {self.tokenizer is not None} {self.longest}".encode()
        return {
            "samples": len(self),
            "labels": zlib.crc32(repr((self.manifest.counts, self.classes)).encode()),
            "names": zlib.crc32("\n".join(name.rpartition("/")[2] for name in self.names).encode(*_ANY)),
            "view": zlib.crc32(seen),
        }

    def order(self, seed: int, epoch: int, batch_size: int) -> Order:
        """As `ShardOrder`: a reader holds a few shards at a time."""
        return ShardOrder(self.counts, seed, epoch, batch_size)

    def name(self, row: int) -> str:
        """Its shard and its name there."""
        shard, at = self._place(row)
        index = self._opened(self.names[shard])[1]
        return f"{self.names[shard]}/{index.names[at]}"

    def one(self, row: int, epoch: int, rng: np.random.Generator | None) -> Sample | Fault:
        """A picture (c, side, side) as bytes, and its class or (longest,) ids."""
        shard, at = self._place(row)
        try:
            path, index = self._opened(self.names[shard])
        except DataError as error:
            return Fault(self.names[shard], str(error))
        if at >= len(index.samples):
            return Fault(self.names[shard], index.broken or "it has fewer samples than were counted")
        where, files = f"{self.names[shard]}/{index.names[at]}", index.samples[at]
        target = self._target(path, files)
        if isinstance(target, str):
            return Fault(where, target)
        picture = next((files[ending] for ending in PICTURES if ending in files), None)
        if picture is None:
            return Fault(where, "it has no picture")
        view = self.view if self.growing is None or rng is None else replace(self.view, side=self.growing.at(epoch))
        if self._decoder is None:
            self._decoder = Decoder()
        found = self._decoder.attempt(_bytes(path, picture), view, rng)
        return Fault(where, found) if isinstance(found, str) else Sample(found, target)

    def take(self, shards: Int64[np.ndarray, " s"]) -> Shards:
        """Those of some shards, by number."""
        counts = tuple(self.manifest.counts[int(i)] for i in shards)
        return Shards(
            [self.names[int(i)] for i in shards],
            replace(self.manifest, counts=counts),
            self.view,
            growing=self.growing,
            tokenizer=self.tokenizer,
            longest=self.longest,
            labelled=self.labelled,
            strict=self.strict,
        )

    def stand_ins(self, row: int, rng: np.random.Generator) -> Int64[np.ndarray, " t"]:
        """Of the same shard first, which is there already."""
        shard, _ = self._place(row)
        others = super().stand_ins(row, rng)
        near = rng.integers(self.counts[shard], size=len(others) // 2) + self.ends[shard] - self.counts[shard]
        return np.concatenate([near, others[len(near) :]])

    def _place(self, row: int) -> tuple[int, int]:
        """The shard of a row, and its place there."""
        shard = int(np.searchsorted(self.ends, row, side="right"))
        return shard, row - int(self.ends[shard] - self.counts[shard])

    def _target(self, path: Path, files: Mapping[str, Place]) -> int | Int64[np.ndarray, " t"] | str:
        if self.classes == ("",) and self.tokenizer is None:
            return 0
        ending = "cls" if self.tokenizer is None else "txt"
        if ending not in files:
            return f"it has no .{ending}"
        text = _bytes(path, files[ending])
        if self.tokenizer is not None:
            return self.tokenizer.filled(text.decode("utf-8", "replace"), self.longest)
        digits = text.strip()
        if not digits.isdigit() or len(digits) > 9 or int(digits) >= len(self.classes):
            return f"its class is {digits[:20]!r}, not 0 … {len(self.classes) - 1}"
        return int(digits)

    def _opened(self, name: str) -> tuple[Path, TarIndex]:
        if self._copies is None or self._indexes is None:
            self._forget()
        assert self._copies is not None
        assert self._indexes is not None
        path = self._copies.path(name)
        if name not in self._indexes:
            self._indexes[name] = index_of(path)
            while len(self._indexes) > _OPEN:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(name)
        return path, self._indexes[name]

    def _forget(self) -> None:
        self._decoder: Decoder | None = None
        self._copies: Copies | None = Copies(_OPEN)
        self._indexes: OrderedDict[str, TarIndex] | None = OrderedDict()


def open_shards(
    source: str,
    view: View,
    *,
    growing: Growing | None = None,
    tokenizer: Tokenizer | None = None,
    longest: int = 32,
    labelled: bool = True,
    strict: bool = False,
    progress: Progress | None = None,
) -> Shards:
    """Shards of a folder, a file, a pattern of names or URLs; those without a ``shards.json`` are counted once.

    Args:
        source: such as ``train/``, ``train/{000..127}.tar``, ``https://host/{000..127}.tar``, ``pipe:aws s3 cp … -``.
        view, growing, tokenizer, longest, labelled, strict: as of `Shards`.
        progress: called with (shards done, shards in all, words) while they are counted.

    Raises:
        InputError: classes were wanted, and there are none.
        DataError: no shards, a damaged ``shards.json``, nothing in them; or `strict`, and one is damaged.
        MissingExtraError: `webdataset` is needed and not installed.
    """
    names = listed(source)
    manifest = manifest_of(names, progress=progress)
    if strict and manifest.faults:
        raise DataError(f"{manifest.faults[0]}. Repair or remove it.")
    return Shards(
        names,
        manifest,
        view,
        growing=growing,
        tokenizer=tokenizer,
        longest=longest,
        labelled=labelled,
        strict=strict,
    )


def _bytes(path: Path, place: Place) -> bytes:
    with path.open("rb") as file:
        file.seek(place.start)
        return file.read(place.size)
