"""Pictures and captions of one's own in one nested space: train, save with the tokenizer, measure every prefix."""

from nestling.studies.pairs.recall import KS, TO_CAPTION, TO_PICTURE, found_at
from nestling.studies.pairs.run import PairRun, train_pairs
from nestling.studies.pairs.towers import TowerChoice

__all__ = ["KS", "TO_CAPTION", "TO_PICTURE", "PairRun", "TowerChoice", "found_at", "train_pairs"]
