"""Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28×28, in ten classes (arXiv 1708.07747).

Looked for in the cache folder, then in the place of Debian's package, then fetched. Every file is checked
against its published SHA-256 before a byte of it is believed, so that the plain-HTTP address is no risk.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from nestling.data.cache import check_sha256, data_folder
from nestling.data.debian import unpacked_package
from nestling.data.fetching import Say, by_http, check_address, log
from nestling.data.images import LabelledImages
from nestling.errors import ChecksumError, DataError, InputError
from nestling.files import write_file

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
PACKAGE = "dataset-fashion-mnist"
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")


class _Published(NamedTuple):
    size: int  # bytes of the decompressed IDX file
    sha256: str  # of those bytes: a gzip file differs with the program that wrote it


_FILES = {
    "train-images-idx3-ubyte.gz": _Published(
        16 + 60_000 * 784, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    "train-labels-idx1-ubyte.gz": _Published(
        8 + 60_000, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
    ),
    "t10k-images-idx3-ubyte.gz": _Published(
        16 + 10_000 * 784, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
    ),
    "t10k-labels-idx1-ubyte.gz": _Published(
        8 + 10_000, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
    ),
}
_SPLITS = {"train": "train", "test": "t10k"}


def fashion_mnist(
    split: str = "train", *, fetch: bool = True, say: Say | None = None, address: str = ADDRESS
) -> LabelledImages:
    """Load one split: (60000, 1, 28, 28) for "train", (10000, 1, 28, 28) for "test".

    Args:
        split: "train" or "test".
        fetch: may the files be fetched (31 MB, once) when the machine has none?
        say: called with a sentence whenever something takes time or a damaged file is passed over.
        address: where the files are fetched when apt-get cannot; http or https.

    Raises:
        InputError: the split or the address is not one of these.
        ChecksumError: the machine has a damaged file, and no way gave a good one.
        DataError: the machine has no such file, and no way gave one.
    """
    if split not in _SPLITS:
        raise InputError.of("split", '"train" or "test"', repr(split))
    check_address(address)
    names = [name for name in _FILES if name.startswith(_SPLITS[split])]
    found = _find(names, fetch=fetch, say=say or log, address=address)
    pixels, labels = (read_idx(found[name]) for name in names)
    return LabelledImages(pixels[:, None], labels.astype(np.int64), CLASSES)


def read_idx(data: bytes) -> UInt8[np.ndarray, " ..."]:
    """Read an IDX file of unsigned bytes, as MNIST's: two zeros, type, ndim, the dims, the numbers.

    Nothing is allocated before the header's dims have been compared with the length of `data`.

    Raises:
        DataError: the bytes are no such file, or its length is not what its header says.
    """
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError("These bytes are no IDX file: it begins with two zeros, a type and a number of dims.")
    kind, ndim = data[2], data[3]
    if kind != 8 or not 1 <= ndim <= 4:
        raise DataError(f"IDX type {kind} with {ndim} dims is not read here, only unsigned bytes in 1 to 4 dims.")
    start = 4 + 4 * ndim
    dims = [int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4)]
    if 0 in dims or len(data) != start + math.prod(dims):
        raise DataError(f"The IDX header promises {dims} bytes, but {max(len(data) - start, 0)} follow it.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(dims).copy()


def _find(names: Iterable[str], *, fetch: bool, say: Say, address: str) -> dict[str, bytes]:
    """The decompressed bytes of each file, from the first place that has it undamaged."""
    cache = data_folder() / "fashion-mnist"
    missing = set(names)
    found: dict[str, bytes] = {}
    damaged: list[ChecksumError] = []
    for folder in (cache, SYSTEM_FOLDER):
        found |= _from_folder(folder, missing - found.keys(), damaged, say)
    failures: list[str] = []
    for way in (_by_apt, _by_http) if fetch else ():
        if missing - found.keys():
            try:
                packed = way(missing - found.keys(), address, say)
                found |= _unpack_and_keep(packed, cache, say)
            except DataError as error:
                failures.append(str(error))
    if missing - found.keys():
        raise _nowhere(cache, damaged, failures)
    return found


def _nowhere(cache: Path, damaged: list[ChecksumError], failures: list[str]) -> DataError:
    if damaged:
        return damaged[0]
    tried = f" ({' '.join(failures)})" if failures else ""
    return DataError(
        f"Fashion-MNIST is not on this machine and was not fetched{tried}. "
        f"Install Debian's {PACKAGE}, or put the four files {', '.join(_FILES)} in {cache}."
    )


def _from_folder(folder: Path, names: Iterable[str], damaged: list[ChecksumError], say: Say) -> dict[str, bytes]:
    """What this folder has; a damaged file is passed over with a word and noted in `damaged`."""
    found: dict[str, bytes] = {}
    for name in sorted(names):
        try:
            packed = _read_bounded(folder / name)
            found[name] = _unpack(packed, name, shown=str(folder / name))
        except OSError:  # not there, or not for us to read: the next place may have it
            continue
        except ChecksumError as error:
            damaged.append(error)
            say(f"{folder / name} is damaged and is passed over.")
    return found


def _read_bounded(path: Path) -> bytes:
    """Read a packed file, at most one byte more than it could rightly have."""
    with path.open("rb") as stream:
        return stream.read(_packed_limit(path.name) + 1)


def _packed_limit(name: str) -> int:
    """gzip can make data at most a little longer than it was."""
    return _FILES[name].size + 65_536


def _unpack(packed: bytes, name: str, *, shown: str) -> bytes:
    """Decompress and verify; never inflates more than the published size and one byte.

    Raises:
        ChecksumError: the bytes are not the published ones.
    """
    size, sha256 = _FILES[name]
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            data = stream.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ChecksumError(f"{shown} is damaged: {error}. Delete it and fetch it again.") from error
    check_sha256(data, sha256, name=shown)
    return data


def _unpack_and_keep(packed: dict[str, bytes], cache: Path, say: Say) -> dict[str, bytes]:
    """Verify what was fetched, keep it in the cache for next time, and return it decompressed."""
    found = {name: _unpack(data, name, shown=f"The fetched {name}") for name, data in packed.items()}
    for name, data in packed.items():
        try:
            write_file(cache / name, data)
        except DataError as error:  # the data is in hand: a full disk is no reason to refuse it
            say(f"Not kept for next time: {error}")
            break
    return found


def _by_http(names: Iterable[str], address: str, say: Say) -> dict[str, bytes]:
    base = address.rstrip("/")
    return {name: by_http(f"{base}/{name}", _packed_limit(name), name, say) for name in sorted(names)}


def _by_apt(names: Iterable[str], address: str, say: Say) -> dict[str, bytes]:  # noqa: ARG001 (one form for all ways)
    """Download Debian's package and unpack it in a temporary folder: no root, nothing installed.

    All four files are returned whatever was asked for: they come in one package.
    """
    with unpacked_package(PACKAGE, 31, say) as root:
        place = root / SYSTEM_FOLDER.relative_to("/")
        try:
            return {name: _read_bounded(place / name) for name in _FILES}
        except OSError as error:
            raise DataError(f"Debian's package lacks a file: {error}.") from error
