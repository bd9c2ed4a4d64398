"""Masked language modelling: which tokens of a batch are hidden, and the nested loss of telling them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nestling.errors import InputError
from nestling.losses import NestedLoss
from nestling.losses.gather import sum_over_processes, world
from nestling.models.masked import MaskedLanguageModel
from nestling.training.objective import Objective

_MASKED, _REPLACED = 0.8, 0.1  # of the hidden tokens; the rest stay as they are (Devlin et al. 2019, §3.1)


class Masked(NamedTuple):
    """A batch with hidden tokens.

    Attributes:
        ids: (b, t) with what stands in their place.
        hidden: (b, t) which they are.
        words: (h,) the true ones, row by row.
    """

    ids: Int[Tensor, "b t"]
    hidden: Bool[Tensor, "b t"]
    words: Int[Tensor, " h"]


class Masking:
    """Hides tokens as BERT does: of every 20 chosen, 16 become the mask, 2 another token, 2 stay.

    Args:
        mask: the id that hides; special: ids that are never chosen (padding, the first and the last token).
        size: of the vocabulary.
        share: of the tokens.

    Raises:
        InputError: the share is not between 0 and 1.
    """

    def __init__(self, mask: int, special: Sequence[int], size: int, *, share: float = 0.15) -> None:
        if not 0 < share < 1:
            raise InputError.of("share", "between 0 and 1", share)
        self.mask, self.size, self.share = mask, size, share
        self.special = torch.tensor(sorted({mask, *special}))

    def __call__(
        self,
        ids: Int[Tensor, "b t"],
        generator: torch.Generator | None = None,
        *,
        lots: Int[Tensor, " b"] | None = None,
    ) -> Masked:
        """Hide some of a batch; each text that has any keeps at least one hidden token.

        Args:
            generator: on the CPU; torch's own when left out.
            lots: a number for each text instead, which alone decides what is hidden of it: not what stands beside it,
                nor how long that is.
        """
        drawn = torch.rand((3, *ids.shape), generator=generator) if lots is None else _by(lots, ids.shape[1])
        lots_of = drawn.to(ids.device)
        may = ~torch.isin(ids, self.special.to(ids.device))
        lot = lots_of[0].masked_fill(~may, 2.0)
        first = lot == lot.min(dim=1, keepdim=True).values
        hidden = may & ((lot < self.share) | first)
        other = (lots_of[2] * self.size).long().clamp(max=self.size - 1)
        new = torch.where(lots_of[1] < _MASKED, self.mask, torch.where(lots_of[1] < _MASKED + _REPLACED, other, ids))
        return Masked(torch.where(hidden, new, ids), hidden, ids[hidden])


def _by(lots: Int[Tensor, " b"], count: int) -> Float[Tensor, "3 b t"]:
    """Numbers 0 … 1, of each text a sequence of its own."""
    rows = [np.random.Generator(np.random.Philox(key=lot)).random((count, 3), np.float32) for lot in lots.tolist()]
    return torch.from_numpy(np.stack(rows)).permute(2, 0, 1)


class MaskedLanguageObjective(Objective):
    """The nested cross-entropy of hidden words; the tokens to hide are drawn anew in every step, by `TokenFeed`'s lots.

    Under several processes it is the mean over the hidden words of all, of which each process has another number.

    Args:
        model: to train.
        masking: how tokens are hidden.
    """

    def __init__(self, model: MaskedLanguageModel, masking: Masking) -> None:
        super().__init__()
        self.model, self.masking, self.nesting = model, masking, model.nesting

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """The transform's and the bias; the decoder is the encoder's."""
        return (*self.model.dense.parameters(), *self.model.norm.parameters(), self.model.bias)

    def forward(
        self, inputs: Int[Tensor, "b t"], targets: Int[Tensor, " b"], weights: Float[Tensor, " k"] | None = None
    ) -> NestedLoss:
        """The loss of a batch of token ids and their lots; the words are their own."""
        longest = int((inputs != self.model.encoder.padding).sum(dim=1).max())
        masked = self.masking(inputs[:, :longest], lots=targets)
        found = self.model.loss(*masked, weights=weights, label_smoothing=self.label_smoothing)
        processes = world()[1]
        if processes == 1:
            return found
        count = found.per_dim.new_tensor(float(len(masked.words)))
        share = count * processes / sum_over_processes(count.clone())  # of which the mean over processes is taken
        return NestedLoss(found.total * share, found.per_dim * share)
