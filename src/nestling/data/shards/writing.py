"""Pictures to shards, in an order drawn once: what lies together in a tree does not lie together in a shard."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nestling.data.draws import ORDER, drawn
from nestling.data.shards.manifest import NAME, Manifest
from nestling.errors import DataError, InputError
from nestling.files import replacing, sweep, write_file

_BEGUN = "unfinished"  # there while shards are written: only then may they be deleted
Progress = Callable[[int, int, str], object]


@dataclass(frozen=True)
class Written:
    """What `write_shards` made.

    Attributes:
        shards: their files; samples: in all.
        faults: files that could not be read and were left out, with reasons.
    """

    shards: tuple[Path, ...]
    samples: int
    faults: tuple[str, ...]


def write_shards(
    paths: Sequence[str],
    targets: Sequence[int] | Sequence[str],
    out: Path | str,
    *,
    classes: Sequence[str] = (),
    most: int = 10_000,
    largest: int = 1 << 30,
    seed: int = 0,
    progress: Progress | None = None,
) -> Written:
    """Write pictures, as they are, with their classes or captions, into ``out/000000.tar`` … and ``out/shards.json``.

    Args:
        paths: n files of pictures.
        targets: n classes in 0 … len(classes) − 1, or n captions.
        out: a folder without shards; an unfinished earlier attempt is begun anew.
        classes: names; none with captions.
        most: samples of a shard; largest: bytes of it, beyond which the next one begins.
        seed: of the order.
        progress: called with (samples done, samples in all, words).

    Raises:
        InputError: not one target per path, or numbers out of range.
        DataError: shards are there already, or the folder cannot be written.
    """
    if len(paths) != len(targets) or not paths:
        raise InputError.of("targets", f"one per picture ({len(paths)}), at least one", len(targets))
    if most < 1 or largest < 1:
        raise InputError.of("the size of a shard", "positive", f"{most} samples, {largest} bytes")
    folder = Path(out)
    if (folder / NAME).exists():
        raise DataError(f"{folder} holds shards already. Choose another folder.")
    begun = folder / _BEGUN
    if not begun.exists() and any(folder.glob("*.tar")):
        raise DataError(f"{folder} holds .tar files that are not of an unfinished attempt. Choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    write_file(begun, "")
    for left in folder.glob("[0-9]" * 6 + ".tar"):
        left.unlink()
    written, counts, faults = list[Path](), list[int](), list[str]()
    samples = _samples(paths, targets, seed, faults)
    ending = "cls" if classes else "txt"
    sample = next(samples, None)
    while sample is not None:
        path, count = folder / f"{len(written):06d}.tar", 0
        with replacing(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
            while sample is not None and count < most and (count == 0 or (archive.offset + len(sample[2]) < largest)):
                name, suffix, picture, target = sample
                _add(archive, f"{name}.{suffix}", picture)
                _add(archive, f"{name}.{ending}", target)
                count, sample = count + 1, next(samples, None)
                if progress is not None:
                    progress(sum(counts) + count, len(paths), f"shard {len(written) + 1}")
        written.append(path)
        counts.append(count)
    if not written:
        raise DataError(f"None of the {len(paths)} pictures can be read, such as {faults[0]}. Check the files.")
    write_file(folder / NAME, Manifest(tuple(counts), tuple(classes)).to_json())
    begun.unlink()
    return Written(tuple(written), sum(counts), tuple(faults))


def _samples(
    paths: Sequence[str], targets: Sequence[int] | Sequence[str], seed: int, faults: list[str]
) -> Iterator[tuple[str, str, bytes, bytes]]:
    """(name, ending, picture, target) of each sample that can be read."""
    for at, row in enumerate(drawn(seed, ORDER).permutation(len(paths))):
        path = Path(paths[int(row)])
        try:
            picture = path.read_bytes()
        except OSError as error:
            faults.append(f"{path}: {error.strerror or error}")
            continue
        if not picture:
            faults.append(f"{path}: it is empty")
            continue
        yield f"{at:09d}", path.suffix.lower().lstrip(".") or "jpg", picture, str(targets[int(row)]).encode()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o444
    archive.addfile(member, io.BytesIO(data))
