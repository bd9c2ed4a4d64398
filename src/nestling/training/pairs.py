"""Pairs of texts as an objective: any model of texts, batches larger than what fits in memory, hard negatives."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nestling.errors import InputError
from nestling.losses import NestedLoss, contrastive
from nestling.losses.gather import gather_rows, world
from nestling.nesting import Nesting, prefix
from nestling.training.feed import ArrayFeed
from nestling.training.objective import Objective


@runtime_checkable
class TextModel(Protocol):
    """Texts in, one vector per text out."""

    def embed(self, texts: Sequence[str]) -> Tensor:
        """(b, d), with gradients."""
        ...


class PairObjective(Objective):
    """The nested InfoNCE of queries and their documents, of which a batch holds rows.

    Texts are encoded `chunk` at a time, and each chunk once more when its gradient is there (gradient caching, Gao et
    al. 2021, arXiv 2101.06983): memory holds one chunk's activations, whatever the batch. A text that a batch has
    twice is encoded once, and pairs that share a text are not held against one another.

    Args:
        model: a module with `embed`.
        texts: what rows are of, queries and documents alike.
        nesting: the prefixes; its width at most the model's.
        temperature: τ.
        chunk: texts that are encoded at once.
        rotation: R (d, d), which does not learn: the loss is of x · R. Where R is good for the model that is begun
            with, the model need not learn one (docs/LOG.md).

    Raises:
        InputError: τ is not positive, or there is no text at once.
    """

    divisible = False
    rotation: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        texts: Sequence[str],
        nesting: Nesting,
        *,
        temperature: float = 0.05,
        chunk: int = 32,
        rotation: Float[Tensor, "d d"] | None = None,
    ) -> None:
        super().__init__()
        if not temperature > 0 or chunk < 1:
            raise InputError.of("temperature and chunk", "positive", f"{temperature} and {chunk}")
        self.model, self.nesting, self.temperature, self.chunk = model, nesting, temperature, chunk
        self._texts = texts
        self.register_buffer("rotation", rotation, persistent=False)

    def forward(
        self, inputs: Int[Tensor, " b"], targets: Int[Tensor, "b t"], weights: Float[Tensor, " k"] | None = None
    ) -> NestedLoss:
        """The loss of rows of queries, (b,), and of each query's document and hard negatives, (b, 1 + h)."""
        positives, others = targets[:, 0], targets[:, 1:].flatten()
        negatives = _elsewhere(others, gather_rows(positives))
        rows, places = torch.unique(torch.cat([inputs, positives, negatives]), return_inverse=True)
        vectors = self._encoded(rows.tolist())
        vectors = prefix(vectors if self.rotation is None else vectors @ self.rotation, self.nesting.width)[places]
        b = len(inputs)
        return contrastive(
            vectors[:b],
            vectors[b : 2 * b],
            self.nesting,
            self.temperature,
            weights=weights,
            groups=joined(inputs, positives),
            negatives=vectors[2 * b :] if len(negatives) else None,
            symmetric=False,
        )

    def _encoded(self, rows: list[int]) -> Float[Tensor, "r d"]:
        """Texts of like length together; a single chunk is kept as it is."""
        order = sorted(range(len(rows)), key=lambda i: len(self._texts[rows[i]]))
        chunks = [order[i : i + self.chunk] for i in range(0, len(order), self.chunk)]
        model = cast(TextModel, self.model)
        parts: list[Tensor] = []
        for chunk in chunks:
            texts = [self._texts[rows[i]] for i in chunk]
            again = torch.is_grad_enabled() and len(chunks) > 1
            parts.append(checkpoint(model.embed, texts, use_reentrant=False) if again else model.embed(texts))
        back = np.argsort(np.concatenate([np.array(chunk) for chunk in chunks]))
        return torch.cat(parts)[torch.from_numpy(back).to(parts[0].device)]


class PairFeed(ArrayFeed):
    """Rows of texts: queries, and what each is held against.

    Args:
        queries: (n,) rows. targets: (n, 1 + h) rows of the document and of hard negatives.
        texts: what the rows are of.

    Raises:
        ShapeError: not one target per query.
    """

    def __init__(
        self, queries: Int64[np.ndarray, " n"], targets: Int64[np.ndarray, "n t"], texts: Sequence[str]
    ) -> None:
        super().__init__(queries, targets)
        self._texts = texts

    def fingerprint(self) -> dict[str, int]:
        """Of the rows, and of the texts."""
        queries = zlib.crc32(np.ascontiguousarray(self.inputs).tobytes())
        return {**super().fingerprint(), "queries": queries, "texts": zlib.crc32("\0".join(self._texts).encode())}


def joined(queries: Int[Tensor, " b"], documents: Int[Tensor, " b"]) -> Int[Tensor, " b"] | None:
    """A number for each pair, the same for those that share a text, or are led to one another by pairs that do.

    The pairs of all processes are looked at: two may be joined by a third that another process has. None where no two
    share a text, which costs the loss nothing.
    """
    rank, b = world()[0], len(queries)
    whole = [gather_rows(side) for side in (queries, documents)]
    sides = [torch.unique(side, return_inverse=True)[1] for side in whole]
    if all(int(side.max()) + 1 == len(side) for side in sides):
        return None
    found = torch.arange(len(whole[0]), device=queries.device)
    while True:
        before = found
        for side in sides:
            found = found.new_zeros(len(found)).scatter_reduce(0, side, found, "amin", include_self=False)[side]
        if torch.equal(found, before):
            return found[rank * b : (rank + 1) * b]


def _elsewhere(rows: Int[Tensor, " n"], positives: Int[Tensor, " b"]) -> Int[Tensor, " r"]:
    """Rows that no query of any process asks for, as many: another negative stands in the place of an answer."""
    wrong = torch.isin(rows, positives)
    good = rows[~wrong]
    if not len(good) or not wrong.any():
        return rows if world()[1] > 1 or not wrong.any() else good
    lot = torch.arange(int(wrong.sum()), device=rows.device) % len(good)
    found = rows.clone()
    found[wrong] = good[lot]
    return found
