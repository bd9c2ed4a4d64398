"""Training: a configuration, one visible loop, its log and its checkpoints."""

from nestling.training.caption_feed import CaptionFeed
from nestling.training.checkpoint import Checkpoint
from nestling.training.config import TrainConfig
from nestling.training.feed import ArrayFeed, Feed
from nestling.training.finishing import finish
from nestling.training.fit import Progress, TrainResult, fit
from nestling.training.log import LogRow
from nestling.training.masking import Masked, MaskedLanguageObjective, Masking
from nestling.training.objective import (
    CaptionObjective,
    ClassificationObjective,
    ContrastiveObjective,
    HeadObjective,
    Objective,
)
from nestling.training.schedule import learning_rate
from nestling.training.token_feed import TokenFeed
from nestling.training.worker_feed import Passage, WorkerFeed, batched, in_order

__all__ = [
    "ArrayFeed",
    "CaptionFeed",
    "CaptionObjective",
    "Checkpoint",
    "ClassificationObjective",
    "ContrastiveObjective",
    "Feed",
    "HeadObjective",
    "LogRow",
    "Masked",
    "MaskedLanguageObjective",
    "Masking",
    "Objective",
    "Passage",
    "Progress",
    "TokenFeed",
    "TrainConfig",
    "TrainResult",
    "WorkerFeed",
    "batched",
    "finish",
    "fit",
    "in_order",
    "learning_rate",
]
