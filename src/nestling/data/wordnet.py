"""WordNet 3.0: 117,659 synsets, each with a gloss, its words, and one of 45 lexicographer classes (Fellbaum 1998).

Looked for in the cache folder, then in the place of Debian's package, then fetched; checked against SHA-256.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from nestling.data.cache import check_sha256, data_folder
from nestling.data.debian import unpacked_package
from nestling.data.fetching import Say, log
from nestling.errors import ChecksumError, DataError
from nestling.files import write_file

PACKAGE = "wordnet-base"
SYSTEM_FOLDER = Path("/usr/share/wordnet")
CLASSES = (
    *("adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute"),
    *("noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group"),
    *("noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant"),
    *("noun.possession", "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state"),
    *("noun.substance", "noun.time", "verb.body", "verb.change", "verb.cognition", "verb.communication"),
    *("verb.competition", "verb.consumption", "verb.contact", "verb.creation", "verb.emotion", "verb.motion"),
    *("verb.perception", "verb.possession", "verb.social", "verb.stative", "verb.weather", "adj.ppl"),
)
"""The lexicographer's files, by the number that a synset carries."""

_SHA256 = {
    "data.adj": "c89120dfc1f046ddff4a631bf9b7e9fa1a36b5e86565a23bf82dbe14f30b88a7",
    "data.adv": "444a63bf3955080ab7524f5079cfc07ff9bc682cb98bdb1db73b0fb9829f1139",
    "data.noun": "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2",
    "data.verb": "adcf43e35b581e8036d8b5a52d63d9cd3d3b4870b2720d3c03c799df44777bc2",
}
_LONGEST = 32 << 20  # bytes of a file
_POSITION = re.compile(r"\((a|p|ip)\)$")  # where an adjective may stand


@dataclass(frozen=True, eq=False)
class Glosses:
    """Texts with their classes, in the order of the files.

    Attributes:
        texts: (n) definition and examples of each synset.
        words: (n) of each synset, "take_a_breath" written with spaces.
        labels: (n,) positions in `CLASSES`.
    """

    texts: Sequence[str]
    words: Sequence[tuple[str, ...]]
    labels: Int64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.texts)


def wordnet(*, fetch: bool = True, say: Say | None = None) -> Glosses:
    """All synsets.

    Args:
        fetch: may Debian's package be fetched (5 MB, once) when the machine has no files?
        say: called with a sentence whenever something takes time or a damaged file is passed over.

    Raises:
        ChecksumError: the machine has a damaged file, and none was fetched.
        DataError: there are no files, and none were fetched.
    """
    say = say or log
    cache = data_folder() / "wordnet"
    damaged: list[ChecksumError] = []
    for folder in (cache, SYSTEM_FOLDER):
        found = _read(folder, damaged, say)
        if found is not None:
            return _parsed(found)
    failure = ""
    if fetch:
        try:
            with unpacked_package(PACKAGE, 5, say) as root:
                found = _read(root / SYSTEM_FOLDER.relative_to("/"), damaged, say)
        except DataError as error:
            found, failure = None, f" ({error})"
        if found is not None:
            for name, data in found.items():
                write_file(cache / name, data)
            return _parsed(found)
    if damaged:
        raise damaged[0]
    names = ", ".join(_SHA256)
    raise DataError(
        f"WordNet is not on this machine and was not fetched{failure}. "
        f"Install Debian's {PACKAGE}, or put its {names} in {cache}."
    )


def _read(folder: Path, damaged: list[ChecksumError], say: Say) -> dict[str, bytes] | None:
    """The four files, or None where one is missing or damaged."""
    found: dict[str, bytes] = {}
    for name, expected in _SHA256.items():
        try:
            with (folder / name).open("rb") as stream:
                found[name] = stream.read(_LONGEST)
            check_sha256(found[name], expected, name=str(folder / name))
        except OSError:
            return None
        except ChecksumError as error:
            damaged.append(error)
            say(f"{folder / name} is damaged and is passed over.")
            return None
    return found


def _parsed(files: Mapping[str, bytes]) -> Glosses:
    texts, words, labels = list[str](), list[tuple[str, ...]](), list[int]()
    for data in files.values():
        for line in data.decode("latin-1").splitlines():
            if line.startswith("  "):  # the licence
                continue
            facts, _, gloss = line.partition(" | ")
            fields = facts.split(" ")
            count = int(fields[3], 16)
            texts.append(gloss.strip())
            words.append(tuple(_POSITION.sub("", word).replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]))
            labels.append(int(fields[1]))
    return Glosses(texts, words, np.array(labels, np.int64))
