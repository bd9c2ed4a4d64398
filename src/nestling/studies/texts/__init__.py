"""Masked language models on one's own texts: train, save with the tokenizer, measure every prefix."""

from nestling.studies.texts.accuracy import METRIC, told_right
from nestling.studies.texts.encoders import TextEncoderChoice
from nestling.studies.texts.run import TextRun, report_rows, train_texts

__all__ = ["METRIC", "TextEncoderChoice", "TextRun", "report_rows", "told_right", "train_texts"]
