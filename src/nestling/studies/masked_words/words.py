"""The texts of the study as rows of token ids."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64

from nestling.data import wordnet
from nestling.data.packing import pack
from nestling.data.parts import of_part
from nestling.data.texts import text_files
from nestling.data.tokens import Tokenizer
from nestling.studies.masked_words.settings import Settings
from nestling.studies.watch import Step, Watch
from nestling.training import Masking


@dataclass(frozen=True, eq=False)
class Words:
    """What is read and what is hidden of it.

    Attributes:
        name: of the texts; count: how many there are.
        train, test: (n, t) rows of ids.
        masking: how tokens are hidden.
    """

    name: str
    count: int
    tokenizer: Tokenizer
    train: Int64[np.ndarray, "n t"]
    test: Int64[np.ndarray, "q t"]
    masking: Masking

    def fingerprint(self) -> list[int]:
        """What tells these rows from others."""
        return [zlib.crc32(np.ascontiguousarray(rows).tobytes()) for rows in (self.train, self.test)]

    def frequencies(self) -> Float32[np.ndarray, " v"]:
        """ln of the share of each piece in the training rows; special ids and what does not occur count once."""
        counts = np.bincount(self.train.ravel(), minlength=self.tokenizer.size)
        counts[list(self.tokenizer.special)] = 0
        counts = np.maximum(counts, 1)
        return np.log(counts / counts.sum()).astype(np.float32)


def study_words(settings: Settings, watch: Watch) -> Words:
    """WordNet's glosses in an order drawn once, or the texts of files; cut into parts by their own bytes.

    Raises:
        DataError, InputError: there are none, or too few.
        MissingExtraError: all-MiniLM-L6-v2 is not installed.
    """
    tokenizer = settings.encoder.reader(settings.encoder.build(torch.Generator()))
    if settings.data is None:
        glosses, order = wordnet(say=watch.say), np.random.default_rng(0)
        name, texts = "wordnet-glosses", [glosses.texts[int(i)] for i in order.permutation(len(glosses))]
    else:
        name, texts = Path(settings.data).name, list(text_files(settings.data))
    rows: list[np.ndarray] = []
    for place, part in enumerate(("training", "validation", "test")):
        if part != "validation":
            with watch.task(f"read {part} texts") as step:
                rows.append(pack(of_part(_told(texts, step), place, settings.shares), tokenizer, settings.length))
    masking = Masking(tokenizer.mask, tokenizer.special, tokenizer.size, share=settings.share)
    return Words(name, len(texts), tokenizer, rows[0], rows[1][: settings.most], masking)


def _told(texts: Sequence[str], step: Step) -> Iterator[str]:
    for place, text in enumerate(texts):
        if place % 5000 == 0:
            step(place, len(texts))
        yield text
