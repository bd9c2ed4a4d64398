"""Texts side by side in rows of one length, for models of tokens: next to nothing of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from jaxtyping import Int64

from nestling.data.tokens import Tokenizer
from nestling.errors import InputError

_AT_ONCE = 4096  # texts
_SHORTEST = 8


def packed(texts: Iterable[str], tokenizer: Tokenizer, length: int) -> Iterator[Int64[np.ndarray, "r t"]]:
    """Rows ``[CLS] text [SEP] text [SEP] … [PAD]``, some at a time, in the order of the texts.

    A text that does not fit beside those before begins a new row; one that no row could hold fills what is left of its
    row and goes on in the next.

    Args:
        length: t, tokens of a row.

    Raises:
        InputError: rows of fewer than eight tokens.
    """
    if length < _SHORTEST:
        raise InputError.of("length", f"at least {_SHORTEST} tokens", length)
    stream, row = iter(texts), [tokenizer.first]
    while chunk := list(islice(stream, _AT_ONCE)):
        rows: list[list[int]] = []
        for ids in tokenizer.pieces(chunk):
            row = _laid(ids, row, rows, tokenizer, length)
        if rows:
            yield _filled(rows, tokenizer, length)
    if len(row) > 1:
        yield _filled([row], tokenizer, length)


def pack(texts: Iterable[str], tokenizer: Tokenizer, length: int) -> Int64[np.ndarray, "r t"]:
    """All rows of `packed`, in memory.

    Raises:
        InputError: there are no texts with a token in them, or rows of fewer than eight tokens.
    """
    found = list(packed(texts, tokenizer, length))
    if not found:
        raise InputError.of("texts", "at least one that is not empty", "none")
    return np.concatenate(found)


def _laid(ids: list[int], row: list[int], rows: list[list[int]], tokenizer: Tokenizer, length: int) -> list[int]:
    """Lay one text; full rows go to `rows`, the one begun is returned."""
    while ids:
        room = length - len(row) - 1
        if room < 1 or (room < len(ids) <= length - 2):
            rows.append(row)
            row, room = [tokenizer.first], length - 2
        row = [*row, *ids[:room], tokenizer.last]
        ids = ids[room:]
    return row


def _filled(rows: list[list[int]], tokenizer: Tokenizer, length: int) -> Int64[np.ndarray, "r t"]:
    found = np.full((len(rows), length), tokenizer.padding, np.int64)
    for line, row in zip(found, rows, strict=True):
        line[: len(row)] = row
    return found
