"""Folders that were changed by nobody who knew what he did, or by somebody who knew it well."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from nestling.errors import CorruptIndexError, NestlingError
from nestling.search.index import Index
from nestling.search.storage import fields
from nestling.search.storage.blocks import Section, layout
from nestling.search.storage.segment import dead_sections, row_sections
from tests.search.storage.toy import NESTING, vectors

PLANS = {  # a sketch → the plans that it allows
    "sketch-8@8": ("8@8:40,16:5", "probe=2;8@8:40,16@8:10,16:5", "8@8:2000,16:5"),
    "sketch-16@1": ("16@1:50,16:5", "probe=4;16@1:50,16@8:20,16:5"),
    "sketch-8@4": ("8@4:30,16:5",),
    "sketch-4@2": ("4@2:30,8:20,16:5",),
}
MEMORY = 1 << 30  # that a child may take beyond what it has

Layouts = dict[str, list[Section]]  # file → its sections


def originals(folder: Path) -> list[Path]:
    """Three indexes: cells and everything else, texts, numbers in no order."""
    draw = np.random.default_rng(0)
    full = Index.create(folder / "full", NESTING, metric="l2", dtype="float32")
    full.add(vectors(list(range(150)), 1))
    full.derive("sketch-8@8", "sketch-16@1", "copy-8,16")
    full.partition(4, 8)
    full.add(vectors(list(range(150, 1600)), 1))
    full.delete([3, 149, 150, 700])
    texts = Index.create(folder / "texts", NESTING, metric="cosine")
    texts.add(vectors(list(range(1200)), 1), [f"{i}" + "x" * (i % 3) for i in range(1200)])
    texts.derive("sketch-8@4")
    texts.add(vectors([5000, 5001], 1), ["", "été"])
    texts.delete(["78", ""])
    mixed = Index.create(folder / "mixed", NESTING, metric="ip")
    for part in np.split(draw.permutation(90), 3):
        mixed.add(vectors(part, 1), part)
    mixed.derive("sketch-4@2")
    return [full.path, texts.path, mixed.path]


def layouts(folder: Path) -> Layouts:
    """The sections of every part file."""
    snapshot = Index.open(folder)._snapshot
    manifest, found = snapshot.manifest, {}
    for segment in manifest.segments:
        found[segment.rows_file.file] = row_sections(manifest, str(manifest.ids), segment.rows, segment.text_bytes)
        if segment.dead:
            found[segment.dead.file] = dead_sections(segment.rows)
        for name, entry in segment.derived.items():
            found[entry.file] = snapshot.derived[name].sections(segment.rows)
    if snapshot.partition:
        arrays = snapshot.partition.arrays
        found[snapshot.partition.entry.file.file] = [Section(n, a.dtype, a.shape) for n, a in arrays.items()]
    return found


# --- mutations: each returns whether a verifying reader must see it -----------------------------------------


def flip(folder: Path, known: Layouts, draw: random.Random) -> bool:
    """A few bits, somewhere."""
    path = draw.choice(_files(folder))
    before = path.read_bytes()
    data = bytearray(before)
    for _ in range(draw.choice((1, 1, 1, 2, 8, 100))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    return any(a != b and _matters(path, at, known) for at, (a, b) in enumerate(zip(before, data, strict=True)))


def region(folder: Path, known: Layouts, draw: random.Random) -> bool:
    """A stretch of zeros, ones or noise, as a bad sector leaves it."""
    path = draw.choice(_files(folder))
    data = bytearray(path.read_bytes())
    start = draw.randrange(len(data))
    length = draw.choice((1, 8, 512, 4096))
    old = bytes(data[start : start + length])
    new = draw.choice((bytes(len(old)), b"\xff" * len(old), draw.randbytes(len(old))))
    data[start : start + len(old)] = new
    path.write_bytes(data)
    return any(a != b and _matters(path, start + i, known) for i, (a, b) in enumerate(zip(old, new, strict=True)))


def resize(folder: Path, known: Layouts, draw: random.Random) -> bool:
    """Cut short or grown."""
    path = draw.choice(_files(folder))
    size = path.stat().st_size
    os.truncate(path, draw.choice((0, 1, size // 2, size - 1, size + 1, size + 4096, draw.randrange(size))))
    return path.stat().st_size != size


def swap(folder: Path, known: Layouts, draw: random.Random) -> bool:
    """Two files under one another's names."""
    one, two = draw.sample(_files(folder), 2)
    a, b = one.read_bytes(), two.read_bytes()
    one.write_bytes(b)
    two.write_bytes(a)
    return a != b


def lose(folder: Path, known: Layouts, draw: random.Random) -> bool:
    """A file is gone, or something else has its name."""
    path = draw.choice(_files(folder))
    path.unlink()
    what = draw.randrange(5)
    if what == 1:
        path.mkdir()
    elif what == 2:
        os.mkfifo(path)
    elif what == 3:
        path.symlink_to(draw.choice(("/dev/zero", "/etc/passwd", str(path), str(folder))))
    return True


def lie(folder: Path, known: Layouts, draw: random.Random) -> bool:
    """The manifest says something else, with a right checksum."""
    path = folder / "manifest.json"
    body = fields.parsed(path.read_bytes())
    body.pop(fields.CHECKSUM)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        _lie_somewhere(body, draw)
    try:
        path.write_bytes(fields.render(body))
    except ValueError:  # NaN is no JSON
        path.write_bytes(b"{}")
    return False  # it may say something that is true of another index


def _lie_somewhere(body: Any, draw: random.Random) -> None:
    node, key = body, draw.choice(sorted(body))
    while isinstance(node[key], dict | list) and node[key] and draw.random() < 0.85:
        node = node[key]
        key = draw.choice(sorted(node)) if isinstance(node, dict) else draw.randrange(len(node))
    value = node[key]
    if draw.random() < 0.1:
        node.pop(key)
    elif isinstance(value, bool) or value is None:
        node[key] = draw.choice((True, 1, "x", [], {}))
    elif isinstance(value, int | float):
        value = int(value)
        others = (0, 1, -1, value + 1, value - 1, value * 2, value // 2, 2**31, 2**32, 2**63, 2**64, 10**30)
        node[key] = draw.choice((*others, value + 4096, float(value), str(value), None, True))
    elif isinstance(value, str):
        strings = ("", "../../etc/passwd", "/dev/zero", "\0", "0" * 16, value[::-1], value + "0", "float16", "ip")
        node[key] = draw.choice((*strings, "cosine", "string", "int64", "sketch-16@8", "cells", None, 5))
    elif isinstance(value, list):
        node[key] = draw.choice((value * 2, value[::-1], value[1:], [*value, None], {}, [*value, 64]))
    else:
        node[key] = draw.choice((None, [], {}, {**value, "more": 1}, 5, dict(list(value.items())[1:])))


def redirect(folder: Path, known: Layouts, draw: random.Random) -> bool:
    """Two entries of the manifest change their places: right files, in the wrong role."""
    path = folder / "manifest.json"
    body = fields.parsed(path.read_bytes())
    body.pop(fields.CHECKSUM)
    holders: list[tuple[Any, Any]] = []
    for segment in body["segments"]:
        holders += [(segment, "rows_file"), *((segment["derived"], name) for name in segment["derived"])]
        holders += [(segment, "dead")] if segment["dead"] else []
    (a, i), (b, j) = draw.sample(holders, 2)
    if draw.random() < 0.5:
        a[i], b[j] = b[j], a[i]
    else:  # names only: the sizes and hashes stay
        a[i]["file"], b[j]["file"] = b[j]["file"], a[i]["file"]
    path.write_bytes(fields.render(body))
    return False


def forge(folder: Path, known: Layouts, draw: random.Random) -> bool:
    """Other contents with right checksums everywhere: nothing but use, or the check of contents, can tell."""
    path = folder / "manifest.json"
    body = json.loads(path.read_bytes())
    body.pop(fields.CHECKSUM)
    for name, sections in draw.sample(sorted(known.items()), min(len(known), draw.choice((1, 2)))):
        file = folder / "parts" / name
        data = bytearray(file.read_bytes())
        offsets, _ = layout(sections)
        section = draw.choice(sections)
        if not section.bytes:
            continue
        view = np.ndarray((section.bytes // section.dtype.itemsize,), section.dtype, data, offsets[section.name])
        _forge(view, draw)
        digest = xxhash.xxh3_64_hexdigest(view.tobytes())
        for entry in _entries(body):
            if entry["file"] == name:
                entry["hashes"][section.name] = digest
        file.write_bytes(data)
    path.write_bytes(fields.render(body))
    return False


def _forge(view: np.ndarray, draw: random.Random) -> None:
    raw = view.view(np.uint8)
    what = draw.randrange(6)
    at = np.array([draw.randrange(len(view)) for _ in range(draw.choice((1, 3, 50)))])
    if what == 0:
        raw[:] = np.frombuffer(draw.randbytes(len(raw)), np.uint8)
    elif what == 1:
        raw[:] = draw.choice((0, 255, 127, 128))
    elif what == 2:
        view[:] = view[::-1].copy()
    elif view.dtype.kind == "f":
        view[at] = draw.choice((np.nan, np.inf, -np.inf, 65504, -1, 0))
    else:
        top = np.iinfo(view.dtype).max
        view[at] = draw.choice((0, 1, len(view) - 1, len(view), len(view) + 1, top // 2, top // 2 + 1, top)) % (top + 1)


def _entries(body: dict[str, Any]) -> list[dict[str, Any]]:
    found = [body["partition"]["file"]] if body["partition"] else []
    for segment in body["segments"]:
        found += [segment["rows_file"], *segment["derived"].values(), *([segment["dead"]] if segment["dead"] else [])]
    return found


MUTATIONS: list[Callable[[Path, Layouts, random.Random], bool]] = [
    flip,
    region,
    resize,
    swap,
    lose,
    lie,
    lie,
    redirect,
    forge,
    forge,
]


def _files(folder: Path) -> list[Path]:
    parts = sorted((folder / "parts").iterdir())
    return [*parts, folder / "manifest.json", folder / "manifest.json", folder / "manifest.json"]


def _matters(path: Path, at: int, known: Layouts) -> bool:
    """Whether a byte belongs to a section; the rest is between them."""
    if path.name == "manifest.json":
        return True
    offsets, _ = layout(known[path.name])
    return any(offsets[s.name] <= at < offsets[s.name] + s.bytes for s in known[path.name])


# --- use of such a folder ------------------------------------------------------------------------------------


def use(folder: Path, *, writes: bool = True) -> list[str] | None:
    """Do everything that can be done with an index; what was refused, in sentences; None if it was not opened."""
    told: list[str] = []

    def tried(action: Callable[[], Any]) -> Any:
        try:
            return action()
        except NestlingError as error:
            told.append(sentence(error))
            return None

    index = tried(lambda: Index.open(folder))
    if index is None:
        return None
    snapshot = index._snapshot
    words = snapshot.manifest.ids == "string"
    some = ["77xx", "été", "12", "no"] if words else [5, 8, 700, 10**6]
    len(index)
    for action in (index.info, index.ids, lambda: snapshot.locate(some), lambda: snapshot.allowed(some[:1])):
        tried(action)
    tried(lambda: snapshot.allowed(np.arange(len(index)) % 2 == 0))
    for segment in snapshot.segments:
        tried(lambda segment=segment: segment.ids.find(_ids(snapshot, some)))
        tried(lambda segment=segment: float(segment.values(slice(None)).sum()))
        for part in (*segment.parts.values(), {"norms": np.stack(segment.norms)}):
            _ = [array.tobytes() for array in part.values()]
    _search(index, tried, some[:1])
    if not writes:
        return told
    new = ["new", "newer"] if words else [10**7, 10**7 + 1]
    x = vectors([8, 9], 2)[:, : index.nesting.width] if index.nesting.width <= 16 else np.zeros((2, 1), np.float32)
    tried(lambda: index.add(x, new))
    tried(lambda: index.upsert(x, [some[0], new[0]]))
    tried(lambda: index.delete(some))
    tried(lambda: index.derive("sketch-4@8"))
    tried(index.compact)
    _search(index, tried, new[:1])
    return told


def _search(index: Index, tried: Callable[[Callable[[], Any]], Any], among: list[Any]) -> None:
    queries = vectors([5, 700], 1)
    for plan in (plan for name in index.info()["derived"] for plan in PLANS.get(name, ())):
        tried(lambda plan=plan: index.search(queries, plan=plan))
        tried(lambda plan=plan: index.search(queries[:1], plan=plan, among=among))
    tried(lambda: index.search(queries, 3, exact=True))


def sentence(error: Exception) -> str:
    """What an error says, in one line."""
    assert "\n" not in str(error)
    return f"{type(error).__name__}: {error}"


def _ids(snapshot: Any, some: list[Any]) -> Any:
    from nestling.search.storage.ids import normalised

    return normalised(some, snapshot.manifest.ids)


def abuse(kept: str, scratch: str, seeds: range, report: str) -> None:
    """Damage copies of indexes in many ways and use them; what went wrong, and where it stands if it crashes."""
    paths = [Path(kept) / name for name in ("full", "texts", "mixed")]
    known = {path: layouts(path) for path in paths}
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    os.fsync = lambda handle: None  # the disk is not what is tested here
    warnings.simplefilter("ignore", RuntimeWarning)  # damaged numbers are NaN at times
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for seed in seeds:
        draw = random.Random(seed)
        original, mutate = draw.choice(paths), MUTATIONS[seed % len(MUTATIONS)]
        folder = Path(scratch) / f"index-{seed % 50}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(original, folder)
        Path(report).write_text(f"{seed} {mutate.__name__} of {original.name}")
        signal.alarm(300)  # what hangs is killed, and seen
        try:
            must = mutate(folder, known[original], draw)
            counts[mutate.__name__] += 1
            counts["verified"] += _verified(folder, must)
            told = use(folder, writes=seed % 3 == 0)
            counts["opened"] += told is not None
            counts["damage told"] += told is None or any("is damaged" in sentence for sentence in told)
        except BaseException:
            wrong.append(f"seed {seed}, {mutate.__name__} of {original.name}:\n{traceback.format_exc()}")
        signal.alarm(0)
        if len(wrong) >= 5:
            break
    Path(report).write_text("\n".join(["done", json.dumps(counts), *wrong]))


def _verified(folder: Path, must: bool) -> bool:
    """Open with `verify`; what must be seen is seen, and as damage."""
    try:
        Index.open(folder, verify=True)
    except NestlingError as error:
        refused: NestlingError | None = error
    else:
        refused = None
    if must:
        assert refused is not None, "a changed byte was not seen"
        missing = "is not an index" in str(refused) or "cannot be opened" in str(refused)
        assert isinstance(refused, CorruptIndexError) or missing, repr(refused)
    return refused is None
