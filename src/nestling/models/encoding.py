"""Many inputs through a network, batch by batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn


@torch.inference_mode()
def encode_all(
    model: nn.Module,
    network: Callable[[Tensor], Tensor],
    inputs: np.ndarray | Tensor,
    *,
    batch_size: int,
    width: int,
) -> Float[np.ndarray, "n d"]:
    """What `network`, a part of `model`, makes of all inputs, as float32 on the CPU, in evaluation mode.

    Args:
        inputs: (n, …).
        width: d, for when there are no inputs.
    """
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        parts = [
            network(_tensor(inputs[i : i + batch_size]).to(device)).float().cpu().numpy()
            for i in range(0, len(inputs), batch_size)
        ]
    finally:
        model.train(was_training)
    return np.concatenate(parts) if parts else np.empty((0, width), np.float32)


def _tensor(batch: np.ndarray | Tensor) -> Tensor:
    # A copy of the batch: memory-mapped files are read-only, and torch warns of those.
    return torch.from_numpy(np.array(batch)) if isinstance(batch, np.ndarray) else batch
