"""Fine-tuning a text encoder nested on pairs of texts. Command: ``nestling train --pairs``."""

from nestling.studies.text_pairs.encoder import Prompts
from nestling.studies.text_pairs.run import PairRun, train_pairs

__all__ = ["PairRun", "Prompts", "train_pairs"]
