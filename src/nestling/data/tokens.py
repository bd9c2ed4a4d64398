"""Texts to token ids, by the tokenizer that was saved beside a model (``tokenizer.json``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from nestling.errors import DataError, InputError, require_extra
from nestling.files import write_file

Progress = Callable[[int, int, str], object]
_AT_ONCE = 4096  # texts
_SPELLINGS = (("[PAD]", "[MASK]", "[CLS]", "[SEP]", "[UNK]"), ("<pad>", "<mask>", "<s>", "</s>", "<unk>"))
"""Of padding, hidden, first, last and unknown: BERT's, RoBERTa's."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokenizer:
    """Reads texts as a model does.

    Attributes:
        reader: of the `tokenizers` library.
        padding, mask: ids that fill short texts and that hide a token.
        first, last: ids that a text begins and ends with.
        special: ids that stand for no piece of a text.
        size: how many ids there are.
    """

    reader: Any
    padding: int
    mask: int
    first: int
    last: int
    special: tuple[int, ...]
    size: int

    @classmethod
    def load(cls, folder: Path | str) -> Tokenizer:
        """The tokenizer of a model's folder.

        Raises:
            DataError: there is none, or none that hides tokens (it lacks ``[PAD]``, ``[MASK]``, ``[CLS]`` or ``[SEP]``,
                or RoBERTa's words for them).
            MissingExtraError: `tokenizers` is not installed.
        """
        path = Path(folder) / "tokenizer.json"
        try:
            reader = require_extra("tokenizers").Tokenizer.from_file(str(path))
        except ImportError:
            raise
        except Exception as error:  # the library raises nothing narrower
            raise DataError(f"{path} holds no tokenizer ({error}). Save the model's tokenizer there.") from error
        spellings = [[reader.token_to_id(word) for word in words] for words in _SPELLINGS]
        ids = min(spellings, key=lambda found: found[:4].count(None))
        lacking = [
            word for word, found in zip(_SPELLINGS[spellings.index(ids)][:4], ids, strict=False) if found is None
        ]
        if lacking:
            raise DataError(f"{path} has no {' or '.join(lacking)}. Take the tokenizer of a BERT-family model.")
        reader.no_padding()
        reader.no_truncation()
        special = tuple(sorted(found for found in ids if found is not None))
        padding, mask, first, last = ids[:4]
        return cls(reader, padding, mask, first, last, special, reader.get_vocab_size())

    def save(self, folder: Path | str) -> None:
        """Write it where `load` finds it.

        Raises:
            DataError: the folder cannot be written.
        """
        write_file(Path(folder) / "tokenizer.json", self.text())

    def text(self) -> str:
        """All that decides how it reads, as JSON."""
        self.reader.no_truncation()
        return str(self.reader.to_str())

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, whole, without its first and last."""
        self.reader.no_truncation()
        return [each.ids for each in self.reader.encode_batch(list(texts), add_special_tokens=False)]

    def read(
        self, texts: Sequence[str], longest: int = 64, *, progress: Progress | None = None
    ) -> Int64[np.ndarray, "n t"]:
        """Token ids of each text, cut to `longest`, padded to the longest that is left.

        Raises:
            InputError: there are no texts, or less room than two tokens.
        """
        if not len(texts) or longest < 2:
            raise InputError.of("texts", "at least one, and room for two tokens", f"{len(texts)}, room {longest}")
        self.reader.enable_truncation(longest)
        found: list[list[int]] = []
        for at in range(0, len(texts), _AT_ONCE):
            found += [each.ids for each in self.reader.encode_batch(list(texts[at : at + _AT_ONCE]))]
            if progress is not None:
                progress(len(found), len(texts), "")
        ids = np.full((len(found), max(map(len, found))), self.padding, np.int64)
        for row, each in zip(ids, found, strict=True):
            row[: len(each)] = each
        return ids

    def filled(self, text: str, length: int) -> Int64[np.ndarray, " t"]:
        """The ids of one text, cut or padded to `length`; errors as of `read`."""
        ids = self.read([text], length)[0]
        return np.concatenate([ids, np.full(length - len(ids), self.padding, np.int64)])
