"""What is searched for among what: packages by their short descriptions, glosses and icons of the same class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from nestling.data import packages, part_of, wordnet
from nestling.data.icons import IconPart, icons
from nestling.nesting import Nesting
from nestling.studies.text_retrieval.encoders import Encoder, encoder_of
from nestling.studies.text_retrieval.settings import GLOSSES, PACKAGES, PARTS, Settings
from nestling.studies.text_retrieval.vectors import kept_vectors
from nestling.studies.watch import Watch


@dataclass(frozen=True, eq=False)
class Task:
    """Vectors to learn from, and queries that were not learnt from with the gallery that they are asked of.

    A gallery item answers a query when their labels are equal; of pairs each label is a pair's own.

    Attributes:
        data, model: names. about: how many of what, in words.
        nesting: the prefixes.
        learnt: (n, d); labels: (n,) its classes, or None with partners: (n, d), the other sides of its pairs.
        queries: (q, d), query_labels: (q,). gallery: (g, d), gallery_labels: (g,).
        groups: (q,) what is resampled together for intervals.
    """

    data: str
    model: str
    about: str
    nesting: Nesting
    learnt: Float32[np.ndarray, "n d"]
    labels: Int64[np.ndarray, " n"] | None
    partners: Float32[np.ndarray, "n d"] | None
    queries: Float32[np.ndarray, "q d"]
    query_labels: Int64[np.ndarray, " q"]
    gallery: Float32[np.ndarray, "g d"]
    gallery_labels: Int64[np.ndarray, " g"]
    groups: Int64[np.ndarray, " q"]

    @property
    def name(self) -> str:
        """Of the table."""
        return f"{self.data}, {self.model}"

    @property
    def supervision(self) -> str:
        """ "pairs" or "labels"."""
        return "labels" if self.partners is None else "pairs"

    @property
    def digest(self) -> str:
        """Of all that decides its numbers."""
        found = hashlib.sha256(str(self.nesting).encode())
        for each in (self.learnt, self.labels, self.partners, self.queries, self.gallery, self.query_labels):
            found.update(b"-" if each is None else np.ascontiguousarray(each).tobytes())
        return found.hexdigest()[:12]


def task_of(data: str, model: str, settings: Settings, folder: Path, watch: Watch) -> Task:
    """The task, its vectors computed if need be.

    Args:
        folder: of vectors that are kept.

    Raises:
        DataError: the data cannot be had. MissingExtraError: a package is not installed.
    """
    encoder = encoder_of(model, settings.length)
    make = {PACKAGES: _packages, GLOSSES: _glosses}.get(data, _icons)
    return make(data, model, encoder, settings, folder, watch)


def _packages(data: str, model: str, encoder: Encoder, settings: Settings, folder: Path, watch: Watch) -> Task:
    found = packages(say=watch.say)
    sides = np.array([part_of(source, settings.shares) for source in found.sources])
    train = _some(np.flatnonzero(sides == 0), settings.most[0])
    asked = _some(np.flatnonzero(sides == PARTS.index(settings.part)), settings.most[1])

    def vectors(texts: Sequence[str], rows: np.ndarray, name: str) -> Float32[np.ndarray, "n d"]:
        return kept_vectors([texts[int(row)] for row in rows], encoder, folder, name, watch)

    a, b = vectors(found.short, train, "short descriptions"), vectors(found.long, train, "descriptions")
    q, g = vectors(found.short, asked, "test short descriptions"), vectors(found.long, asked, "test descriptions")
    first = _distinct(g)
    q, g, asked = q[first], g[first], asked[first]
    same = np.arange(len(q))
    _, sources = np.unique([found.sources[int(row)] for row in asked], return_inverse=True)
    about = (
        f"{len(a):,} pairs learnt from, {len(q):,} short descriptions asked of as many long ones, of other sources; "
        f"archive {found.digest}"
    )
    nesting = _nesting(settings, a.shape[1])
    return Task(data, model, about, nesting, a, None, b, q, same, g, same, sources.astype(np.int64))


def _glosses(data: str, model: str, encoder: Encoder, settings: Settings, folder: Path, watch: Watch) -> Task:
    found = wordnet(say=watch.say)
    sides = np.array([part_of(text, settings.shares) for text in found.texts])
    train = _some(np.flatnonzero(sides == 0), settings.most[0])
    asked = _some(np.flatnonzero(sides == PARTS.index(settings.part)), settings.most[1])
    x, q = (
        kept_vectors([found.texts[int(row)] for row in rows], encoder, folder, name, watch)
        for rows, name in ((train, "glosses"), (asked, "test glosses"))
    )
    labels, wanted = found.labels[train], found.labels[asked]
    about = f"{len(x):,} glosses of {len(set(labels.tolist()))} classes learnt from and asked, {len(q):,} queries"
    nesting, each = _nesting(settings, x.shape[1]), np.arange(len(q))
    return Task(data, model, about, nesting, x, labels, None, q, wanted, x, labels, each)


def _icons(data: str, model: str, encoder: Encoder, settings: Settings, folder: Path, watch: Watch) -> Task:
    with watch.task("icons") as step:
        found = icons("icons-600", size=64, say=watch.say, progress=step)
    sides: dict[str, IconPart] = {"train": found.train, "tune": found.val, "test": found.test}
    asked = sides[settings.part]
    train = _some(np.arange(len(found.train)), settings.most[0])
    rows = _some(np.arange(len(asked)), settings.most[1])
    x = kept_vectors(found.train.images.pixels[train], encoder, folder, "icons", watch)
    q = kept_vectors(asked.images.pixels[rows], encoder, folder, "test icons", watch)
    labels, wanted = found.train.images.labels[train], asked.images.labels[rows]
    about = f"{len(x):,} icons of {len(set(labels.tolist()))} classes learnt from and asked, {len(q):,} queries"
    families = np.asarray(asked.families)[rows]
    nesting = _nesting(settings, x.shape[1])
    return Task(data, model, about, nesting, x, labels, None, q, wanted, x, labels, families)


def _nesting(settings: Settings, width: int) -> Nesting:
    """The prefixes that are narrower, and the width."""
    return Nesting((*(m for m in settings.dims if m < width), width))


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    """All, or as many of them drawn, in their order."""
    return rows if len(rows) <= most else np.sort(np.random.default_rng(0).permutation(rows)[:most])


def _distinct(x: Float32[np.ndarray, "n d"]) -> Int64[np.ndarray, " m"]:
    """The first row of each vector: texts that the model reads alike, cut as they are, could only be told by chance."""
    _, first = np.unique(np.round(x, 5), axis=0, return_index=True)
    return np.sort(first)
