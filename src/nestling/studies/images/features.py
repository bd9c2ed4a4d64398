"""What a frozen encoder makes of all pictures of a source: computed once, kept in the folder of fetched data.

The folder's name is a digest of the files (their names, sizes and times), of how they are read, and of the encoder's
weights: other pictures are never taken for these. Computing resumes when cut off, and several processes share it.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from nestling.data import PictureFiles, SavedPictures
from nestling.data.cache import data_folder
from nestling.data.shards import Shards
from nestling.errors import CheckpointError, ChecksumError, InputError
from nestling.files import write_file
from nestling.models import Encoder
from nestling.models.tensors import digest
from nestling.studies.images.source import Part, Pictures, Streamed
from nestling.studies.images.stream import Vectoriser, stream_vectors
from nestling.studies.parts import written
from nestling.studies.watch import Watch
from nestling.training.lock import waiting
from nestling.training.processes import this_process

Stored = PictureFiles | Shards | SavedPictures
CHUNK = 2048
"""Pictures whose features are lost by a kill, at most."""
_ABOUT, _FORMAT = "about.json", 1
_FILES = ("features.npy", "features-ids.npy", "features-labels.npy")


@dataclass(frozen=True, eq=False)
class Features:
    """Of the pictures of a part that can be read, mapped from the disk.

    Attributes:
        vectors: those of all pictures that were encoded together.
        rows: which of them are this part's.
        labels: (r,) their classes.
    """

    vectors: Float32[np.ndarray, "n d"]
    rows: Int64[np.ndarray, " r"]
    labels: Int64[np.ndarray, " r"]

    def __len__(self) -> int:
        return len(self.rows)

    def blocks(self, size: int = 4096) -> Iterator[Float32[np.ndarray, "b d"]]:
        """The part's vectors in order, some at a time."""
        return (np.array(self.vectors[self.rows[i : i + size]]) for i in range(0, len(self), size))


def frozen_features(
    found: Pictures, encoder: Encoder, *, workers: int | None, watch: Watch, chunk: int = CHUNK
) -> tuple[Features, Features]:
    """Features of the training and of the validation pictures.

    Pictures of a tree are encoded together, so that another split of them finds its features there.

    Raises:
        InputError: the pictures are in memory, or nothing is held out.
        ChecksumError: what is kept is damaged.
        DataError: the pictures are strict and one cannot be read, or there is no room.
    """
    train, val = _samples(found.train), _samples(found.held())
    encoder.requires_grad_(False).eval()

    def kept(samples: Stored) -> _Kept:
        return _Kept.of(samples, encoder, workers=workers, watch=watch, chunk=chunk)

    if isinstance(train, PictureFiles) and isinstance(val, PictureFiles):
        both = kept(_together(train, val))
        return both.part(train.paths, found.classes), both.part(val.paths, found.classes)
    return kept(train).part(None, found.classes), kept(val).part(None, found.classes)


def feature_folder(samples: Stored, encoder: Encoder) -> Path:
    """Where the features of these pictures by this encoder are kept."""
    found = hashlib.sha256(_identity(encoder).encode())
    view = samples.view  # what it would draw in training is no part of it
    found.update(f"\n{view.side} {view.channels} {view.inside} {samples.classes}\n".encode("utf-8", "surrogateescape"))
    for path in _origins(samples):
        found.update(f"{path} {_stamp(path)}\n".encode("utf-8", "surrogateescape"))
    return data_folder() / "features" / found.hexdigest()[:24]


@dataclass(frozen=True, eq=False)
class _Kept:
    vectors: np.ndarray
    names: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(cls, samples: Stored, encoder: Encoder, *, workers: int | None, watch: Watch, chunk: int) -> _Kept:
        """Compute what is not there, then map it."""
        folder = feature_folder(samples, encoder)
        state = this_process()
        with waiting(folder, watch.say) if state.is_main_process else nullcontext():
            state.wait_for_everyone()
            if not (folder / _ABOUT).exists():
                watch.say(f"Features of {len(samples):,} pictures are computed once and kept in {folder}")
                source = Vectoriser(encoder, encoder.width, _identity(encoder))
                out, classes = folder / _FILES[0], samples.classes
                stream_vectors(source, samples, out, classes=classes, workers=workers, watch=watch, chunk=chunk)
                if state.is_main_process:
                    sums = {name: _checksum(folder / name) for name in _FILES}
                    write_file(folder / _ABOUT, json.dumps({"format": _FORMAT, "crc32": sums}) + "\n")
                state.wait_for_everyone()
            else:
                watch.say(f"Features of {len(samples):,} pictures are read from {folder}")
            _check(folder)
        encoder.cpu()
        vectors, names, labels = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in _FILES)
        return cls(vectors, names, labels)

    def part(self, paths: tuple[str, ...] | None, classes: tuple[str, ...]) -> Features:
        """The rows of these paths that could be read; all without paths."""
        rows = np.arange(len(self.names))
        if paths is not None:
            place = {str(name): row for row, name in enumerate(self.names)}
            rows = np.array([place[name] for name in map(written, paths) if name in place], np.int64)
        number = {written(name): i for i, name in enumerate(classes)}
        return Features(self.vectors, rows, np.array([number[str(name)] for name in self.classes[rows]], np.int64))


def _origins(samples: Stored) -> tuple[str, ...]:
    """The files, and of those that hold several pictures which."""
    if isinstance(samples, PictureFiles):
        return samples.paths
    if isinstance(samples, Shards):
        return samples.names
    return (*map(str, samples.saved.files), f"rows {zlib.crc32(samples.rows.tobytes())}")


def _samples(part: Part) -> Stored:
    if not isinstance(part, Streamed) or not isinstance(part.samples, Stored):
        raise InputError.of("the pictures", "read one after another for a frozen encoder", "pictures in memory")
    return part.samples


def _together(train: PictureFiles, val: PictureFiles) -> PictureFiles:
    """In the order of their paths, whatever the split."""
    paths = (*train.paths, *val.paths)
    order = sorted(range(len(paths)), key=paths.__getitem__)
    labels = np.concatenate([train.labels, val.labels])[order]
    return PictureFiles([paths[i] for i in order], labels, train.classes, train.view, strict=train.strict)


def _identity(encoder: Encoder) -> str:
    tensors = {name: tensor.detach().cpu() for name, tensor in encoder.state_dict().items()}
    return digest(tensors, json.dumps([encoder.name, encoder.config], sort_keys=True))


def _stamp(path: str) -> str:
    """The size and the time of a file; nothing of a URL, or of what is not there."""
    try:
        found = Path(path).stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 24):
            found = zlib.crc32(block, found)
    return found


def _check(folder: Path) -> None:
    """Raise `ChecksumError` unless the files are those that were written."""
    try:
        about: dict[str, Any] = json.loads((folder / _ABOUT).read_text())
        version, sums = int(about["format"]), dict(about["crc32"])
        bad = next((name for name in _FILES if sums[name] != _checksum(folder / name)), None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise ChecksumError(f"{folder} is damaged ({why}). Delete it, and the features are computed anew.") from error
    if version > _FORMAT:
        raise CheckpointError(
            f"{folder} is of format {version}, newer than the {_FORMAT} known here. Upgrade Nestling."
        )
    if bad is not None:
        raise ChecksumError(f"{folder / bad} is damaged. Delete {folder}, and the features are computed anew.")
