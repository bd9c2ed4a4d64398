"""Pictures and captions of one's own in one nested space: train, save with the tokenizer, measure every prefix."""

from nestling.studies.captioned.recall import KS, TO_CAPTION, TO_PICTURE, found_at
from nestling.studies.captioned.run import CaptionedRun, train_captioned
from nestling.studies.captioned.towers import TowerChoice

__all__ = ["KS", "TO_CAPTION", "TO_PICTURE", "CaptionedRun", "TowerChoice", "found_at", "train_captioned"]
