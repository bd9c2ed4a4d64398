"""How many hidden words each prefix tells: the masks are functions of the rows, the same for every model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64, Integer

from nestling.models import MaskedLanguageModel
from nestling.studies.watch import Step
from nestling.training import Masked, Masking

_BATCH = 32  # rows
_SEED = 1
METRIC = "masked_top1"


class Told(NamedTuple):
    """What a model says of hidden words.

    Attributes:
        right: (K, h) is it the true word, by each prefix?
        rows: (h,) in which row a hidden word stands.
        words: (h,) the true ones.
    """

    right: Bool[np.ndarray, "K h"]
    rows: Int64[np.ndarray, " h"]
    words: Int64[np.ndarray, " h"]


def told_right(
    model: MaskedLanguageModel, rows: Integer[np.ndarray, "n t"], masking: Masking, *, precision: str, step: Step
) -> Told:
    """Hide words of these rows, always the same ones, and ask for them; the model is left in evaluation mode.

    Args:
        rows: of token ids.
        precision: "fp32" or "bf16".
        step: told the rows done.
    """
    model.eval()
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(_SEED)
    right, where, words = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for at in range(0, len(rows), _BATCH):
        ids = torch.from_numpy(rows[at : at + _BATCH].astype(np.int64))
        masked = Masked(*(each.to(device) for each in masking(ids, generator)))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            found = model.words(masked.ids, masked.hidden)
        right.append((found == masked.words).cpu().numpy())
        where.append(at + masked.hidden.nonzero()[:, 0].cpu().numpy())
        words.append(masked.words.cpu().numpy())
        step(min(at + _BATCH, len(rows)), len(rows))
    return Told(np.concatenate(right, axis=1), np.concatenate(where), np.concatenate(words))
