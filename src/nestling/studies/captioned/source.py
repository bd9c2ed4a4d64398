"""Where the pairs of a run are: shards of pictures and texts, pictures with text files beside them, or `datasets`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from nestling.data import Samples, View, captioned_files, is_saved, saved_captions
from nestling.data.shards import Shards, is_shards, open_shards
from nestling.data.tokens import Tokenizer
from nestling.errors import CheckpointError, InputError
from nestling.files import write_file
from nestling.studies.images.source import held_out_shards, tell_faults, tell_unlisted
from nestling.studies.watch import Watch

_NAME = "pairs.json"
_VALIDATION = ("val", "validation", "valid", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionedReading:
    """How pairs are read.

    Attributes:
        size, channels: of the pictures that the encoder sees.
        crop: the smallest part of a picture that a random crop keeps, None for the centre; flip: mirrored or not.
        length: tokens of a caption.
        val_fraction, seed: of what is held out where the data have no validation part.
        strict: what cannot be read ends the run.
    """

    size: int = 224
    channels: int = 3
    crop: float | None = None
    flip: bool = False
    length: int = 64
    val_fraction: float = 0.01
    seed: int = 0
    strict: bool = False

    def view(self) -> View:
        """How one picture is seen."""
        inside = 0.875 if self.size > 64 else 1.0  # 224 of 256, as is customary
        return View(side=self.size, channels=self.channels, inside=inside, crop=self.crop, flip=self.flip)

    def save(self, run: Path) -> None:
        """Keep it in the folder of a run."""
        write_file(run / _NAME, json.dumps(asdict(self)) + "\n")

    @classmethod
    def of_run(cls, run: Path) -> CaptionedReading:
        """Read what `save` kept.

        Raises:
            CheckpointError: there is none, or a damaged one.
        """
        try:
            return cls(**json.loads((run / _NAME).read_text()))
        except (OSError, ValueError, TypeError) as error:
            line = "It says how pictures and captions are read: give a whole run."
            raise CheckpointError(f"{run / _NAME} cannot be read ({error}). {line}") from error


def open_captioned(
    source: str, tokenizer: Tokenizer, reading: CaptionedReading, watch: Watch
) -> tuple[Samples, Samples]:
    """Training and validation pairs; tells what was found.

    Raises:
        DataError: there are none.
        InputError: none are held out.
    """
    if not 0 < reading.val_fraction < 1:
        raise InputError.of("val_fraction", "between 0 and 1", reading.val_fraction)
    if is_shards(source):
        train, val = _from_shards(source, tokenizer, reading, watch)
    elif is_saved(source):
        train, val = saved_captions(
            source,
            reading.view(),
            tokenizer=tokenizer,
            longest=reading.length,
            val_fraction=reading.val_fraction,
            strict=reading.strict,
        )
        assert val is not None
    else:
        train, val = _from_files(source, tokenizer, reading, watch)
    watch.say(f"{len(train):,} training and {len(val):,} validation pairs")
    return train, val


def _from_files(source: str, tokenizer: Tokenizer, reading: CaptionedReading, watch: Watch) -> tuple[Samples, Samples]:
    found = captioned_files(
        source,
        reading.view(),
        tokenizer=tokenizer,
        longest=reading.length,
        val_fraction=reading.val_fraction,
        strict=reading.strict,
    )
    assert found.val is not None
    tell_unlisted(found.unreadable, watch)
    if found.silent:
        watch.say(f"Ignored {found.silent:,} pictures without a caption")
    return found.train, found.val


def _from_shards(source: str, tokenizer: Tokenizer, reading: CaptionedReading, watch: Watch) -> tuple[Samples, Samples]:
    def opened(where: str) -> Shards:
        with watch.task("count samples") as step:
            found = open_shards(
                where, reading.view(), tokenizer=tokenizer, longest=reading.length, strict=reading.strict, progress=step
            )
        tell_faults(found.manifest.faults, watch)
        return found

    inside = Path(source) / "train"
    beside = next((Path(source) / name for name in _VALIDATION if any((Path(source) / name).glob("*.tar"))), None)
    if any(inside.glob("*.tar")) and beside is not None:
        return opened(str(inside)), opened(str(beside))
    whole = opened(str(inside) if any(inside.glob("*.tar")) else source)
    train, val = held_out_shards(whole, val_fraction=reading.val_fraction, seed=reading.seed)
    if val is None:
        raise InputError.of("the shards", "at least two, of which one is held out", len(whole.names))
    return train, val
