"""Where a run's pictures are: in memory, in the files of a tree, or in shards; train and validation alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from nestling.data import (
    ImageFolder,
    LabelledImages,
    PictureTree,
    Samples,
    Unreadable,
    image_folder,
    is_saved,
    picture_files,
    saved_pictures,
)
from nestling.data.shards import Shards, is_shards, open_shards
from nestling.errors import DataError, InputError
from nestling.studies.images.reading import Reading
from nestling.studies.watch import Step, Watch
from nestling.training import ArrayFeed, Feed, WorkerFeed, batched, in_order

Encode = Callable[[Tensor], Tensor]
_BATCH = 256
_VALIDATION = ("val", "validation", "valid", "test")


class Part(ABC):
    """Pictures with classes, of training or of validation."""

    @abstractmethod
    def __len__(self) -> int:
        """n."""

    @abstractmethod
    def feed(self) -> Feed:
        """For training."""

    @abstractmethod
    def encoded(
        self, encode: Encode, step: Step, most: int | None = None
    ) -> tuple[Float[np.ndarray, "n d"], Int64[np.ndarray, " n"]]:
        """Vectors and classes of all pictures that can be read, or of `most` drawn ones."""

    @abstractmethod
    def sample(self) -> Float[np.ndarray, "s ..."]:
        """Some pictures as numbers 0 … 1."""


class Remembered(Part):
    """Pictures in memory."""

    def __init__(self, images: LabelledImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def feed(self) -> Feed:
        """Out of the array."""
        return ArrayFeed(self.images.pixels, self.images.labels)

    def encoded(
        self, encode: Encode, step: Step, most: int | None = None
    ) -> tuple[Float[np.ndarray, "n d"], Int64[np.ndarray, " n"]]:
        """Batch by batch."""
        rows, parts = _drawn_rows(len(self), most), list[np.ndarray]()
        for i in range(0, len(rows), _BATCH):
            parts.append(encode(torch.from_numpy(self.images.pixels[rows[i : i + _BATCH]])).numpy())
            step(min(i + _BATCH, len(rows)), len(rows))
        return np.concatenate(parts), self.images.labels[rows]

    def sample(self) -> Float[np.ndarray, "s ..."]:
        """Every so manieth."""
        return self.images.pixels[:: max(1, len(self) // 2000)].astype(np.float32) / 255


class Streamed(Part):
    """Pictures that are decoded when they are wanted."""

    def __init__(self, samples: Samples, workers: int | None, watch: Watch) -> None:
        self.samples, self.workers, self.watch = samples, workers, watch

    def __len__(self) -> int:
        return len(self.samples)

    def feed(self) -> Feed:
        """By processes beside the training."""
        return WorkerFeed(self.samples, workers=self.workers)

    def encoded(
        self, encode: Encode, step: Step, most: int | None = None
    ) -> tuple[Float[np.ndarray, "n d"], Int64[np.ndarray, " n"]]:
        """What cannot be read is left out, and told."""
        rows = _drawn_rows(len(self), most)
        vectors, labels, faults, done = list[np.ndarray](), list[np.ndarray](), list[str](), 0
        for passage in in_order(self.samples, batched(rows, _BATCH), workers=self.workers):
            done += len(passage.rows) + len(passage.faults)
            faults += passage.faults
            if len(passage.rows):
                vectors.append(encode(passage.inputs).numpy())
                labels.append(passage.targets.numpy())
            step(done, len(rows))
        tell_faults(tuple(faults), self.watch)
        if not vectors:
            raise none_readable(len(rows), faults[0])
        return np.concatenate(vectors), np.concatenate(labels)

    def sample(self) -> Float[np.ndarray, "s ..."]:
        """A few, drawn."""
        rows = _drawn_rows(len(self), 200)
        kept, chunk = self.samples.readable(rows)
        if not len(kept):
            raise none_readable(len(rows), chunk.faults[0])
        return chunk.inputs.astype(np.float32) / 255


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a run reads."""

    classes: tuple[str, ...]
    train: Part
    val: Part | None

    def held(self) -> Part:
        """What is measured on.

        Raises:
            DataError: nothing was held out.
        """
        if self.val is None or len(self.val) == 0:
            raise DataError(
                "Nothing is held out for validation. Give a folder val beside train, a val_fraction above 0, and two "
                "pictures of a class (or two shards) at least."
            )
        return self.val


def open_pictures(source: str, reading: Reading, *, strict: bool, workers: int | None, watch: Watch) -> Pictures:
    """A tree of one folder per class, shards, or a folder that `datasets` saved; tells what was found.

    Each with or without a part for validation.

    Raises:
        DataError, InputError: as of `image_folder`, `picture_files`, `open_shards` and `saved_pictures`.
    """
    if is_shards(source):
        return _from_shards(source, reading, strict, workers, watch)
    if is_saved(source):
        return _saved(source, reading, strict, workers, watch)
    if reading.streamed:
        found = picture_files(
            source,
            reading.view(),
            growing=reading.growing,
            val_fraction=reading.val_fraction,
            seed=reading.seed,
            strict=strict,
        )
        tell_tree(found, watch)
        val = None if found.val is None else Streamed(found.val, workers, watch)
        return Pictures(found.train.classes, Streamed(found.train, workers, watch), val)
    with watch.task("read images") as step:
        memory = image_folder(
            source,
            size=reading.size,
            channels=reading.channels,
            val_fraction=reading.val_fraction,
            seed=reading.seed,
            strict=strict,
            progress=lambda done, total: step(done, total),
        )
    tell_images(memory, watch)
    val = None if memory.val is None else Remembered(memory.val)
    return Pictures(memory.train.classes, Remembered(memory.train), val)


def tell_tree(found: PictureTree, watch: Watch) -> None:
    """Say what was found."""
    tell_unlisted(found.unreadable, watch)
    _tell(len(found.train), 0 if found.val is None else len(found.val), len(found.train.classes), watch)
    if found.loose:
        watch.say(f"Ignored {found.loose:,} images outside every class folder")
    if found.singles:
        watch.say(f"Classes with one image, not in validation: {', '.join(found.singles[:5])}")


def tell_unlisted(folders: Sequence[Unreadable], watch: Watch) -> None:
    """Say which folders were passed over."""
    if folders:
        watch.say(f"Passed over {len(folders):,} folders that cannot be listed, the first: {folders[0].path}")


def tell_images(found: ImageFolder, watch: Watch) -> None:
    """Say what was read, what was skipped, and what would make the measurement too good."""
    _tell(len(found.train), 0 if found.val is None else len(found.val), len(found.train.classes), watch)
    if found.unreadable:
        first = found.unreadable[0]
        watch.say(f"Skipped {len(found.unreadable):,} unreadable files, the first: {first.path}: {first.reason}")
    if found.loose:
        watch.say(f"Ignored {found.loose:,} images outside every class folder")
    if found.singles:
        watch.say(f"Classes with one image, not in validation: {', '.join(found.singles[:5])}")
    if found.duplicates.count:
        watch.say(
            f"{found.duplicates.count:,} validation images are exact duplicates of training images: "
            "the accuracies below are too good by as much"
        )


def tell_faults(faults: tuple[str, ...], watch: Watch) -> None:
    """Say how many samples could not be read."""
    if faults:
        watch.say(f"Skipped {len(faults):,} unreadable samples, the first: {faults[0]}")


def none_readable(count: int, fault: object) -> DataError:
    """The error of `count` samples that are all broken."""
    return DataError(f"None of {count:,} samples can be read, such as {fault}. Check the files.")


def _tell(train: int, val: int, classes: int, watch: Watch) -> None:
    watch.say(f"{train:,} training and {val:,} validation images, {classes} classes")


def _saved(source: str, reading: Reading, strict: bool, workers: int | None, watch: Watch) -> Pictures:
    train, val = saved_pictures(
        source,
        reading.view(),
        growing=reading.growing,
        val_fraction=reading.val_fraction,
        seed=reading.seed,
        strict=strict,
    )
    _tell(len(train), 0 if val is None else len(val), len(train.classes), watch)
    held = None if val is None else Streamed(val, workers, watch)
    return Pictures(train.classes, Streamed(train, workers, watch), held)


def _from_shards(source: str, reading: Reading, strict: bool, workers: int | None, watch: Watch) -> Pictures:
    def opened(where: str) -> Shards:
        with watch.task("count samples") as step:
            found = open_shards(where, reading.view(), growing=reading.growing, strict=strict, progress=step)
        tell_faults(found.manifest.faults, watch)
        return found

    inside = Path(source) / "train"
    if any(inside.glob("*.tar")):
        train = opened(str(inside))
        beside = next((Path(source) / name for name in _VALIDATION if (Path(source) / name).is_dir()), None)
        val = None if beside is None else opened(str(beside))
    else:
        train, val = held_out_shards(opened(source), val_fraction=reading.val_fraction, seed=reading.seed)
    if val is not None and val.classes != train.classes[: len(val.classes)]:
        wish = "of the training shards' classes, in their order"
        raise InputError.of("the validation shards", wish, "others", "Write both by one `nestling data shard`.")
    if len(train.classes) < 2:
        raise InputError.of("the shards", "of at least two classes", len(train.classes))
    _tell(len(train), 0 if val is None else len(val), len(train.classes), watch)
    held = None if val is None else Streamed(val, workers, watch)
    return Pictures(train.classes, Streamed(train, workers, watch), held)


def held_out_shards(shards: Shards, *, val_fraction: float, seed: int) -> tuple[Shards, Shards | None]:
    """Whole shards, so that nobody reads one for both; None of a single one."""
    count = len(shards.names)
    held = max(1, round(val_fraction * count)) if val_fraction > 0 and count > 1 else 0
    if held == 0:
        return shards, None
    order = np.random.default_rng(seed).permutation(count)
    return shards.take(np.sort(order[held:])), shards.take(np.sort(order[:held]))


def _drawn_rows(count: int, most: int | None) -> Shaped[np.ndarray, " r"]:
    if most is None or most >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))
