"""The learning rate as a closed form of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from nestling.training.config import TrainConfig

_START = 1e-4  # of the peak: where the authors' one-cycle begins


def learning_rate(step: int, *, total_steps: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """The rate of step 0 ≤ step < total_steps.

    cosine: lr·(t+1)/w while t < w, then lr·(1 + cos(π·(t−w)/(T−w)))/2.
    linear: lr·(t+1)/w while t < w, then lr·(T−t)/(T−w).
    one-cycle: linear from lr/10⁴ at 0 to lr at w, then linear to 0 at T (the paper's training code).
    """
    warm = config.warmup_epochs * steps_per_epoch
    if config.steps is not None:
        warm = min(warm, total_steps / 2)
    if config.schedule != "one-cycle" and step < warm:
        return config.lr * min(1.0, (step + 1) / warm)
    if config.schedule == "cosine":
        return config.lr * (1 + math.cos(math.pi * (step - warm) / (total_steps - warm))) / 2
    if step < warm:
        return config.lr * (_START + (1 - _START) * step / warm)
    return config.lr * (total_steps - step) / (total_steps - warm)
