"""The optimizer of a configuration: the head apart from the rest, matrices apart from norms and biases."""

from __future__ import annotations

import torch

from nestling.errors import InputError
from nestling.training.config import TrainConfig
from nestling.training.objective import Objective


def build_optimizer(objective: Objective, config: TrainConfig) -> torch.optim.Optimizer:
    """An optimizer of those parameters that ask for a gradient; each group's `lr_factor` scales its learning rate.

    Raises:
        InputError: nothing is trained.
    """
    head = set(objective.head_parameters())
    trained = [p for p in objective.parameters() if p.requires_grad]
    decay = config.weight_decay if config.head_weight_decay is None else config.head_weight_decay
    groups = [
        {"params": [p for p in trained if (p in head) == of_head and (p.ndim > 1) == matrices]}
        | {"lr_factor": factor, "weight_decay": weight_decay if matrices else 0.0}  # no decay of norms and biases
        for of_head, factor, weight_decay in ((False, 1.0, config.weight_decay), (True, config.head_lr, decay))
        for matrices in (True, False)
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise InputError.of("objective", "a module with parameters to train", "none")
    if config.optimizer == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=True)
    if config.optimizer == "adafactor":
        return torch.optim.Adafactor(groups, lr=config.lr)
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.98), fused=True)
