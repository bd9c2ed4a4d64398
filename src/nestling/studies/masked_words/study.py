"""Continue all-MiniLM-L6-v2 by masked language modelling, nested and for each width alone, and publish the table."""

from __future__ import annotations

import time
from collections.abc import Mapping

from nestling.data.cache import data_folder
from nestling.studies.masked_words.models import Models
from nestling.studies.masked_words.settings import Settings, get_settings
from nestling.studies.masked_words.table import measured, section
from nestling.studies.masked_words.words import Words, study_words
from nestling.studies.page import check_report_folder
from nestling.studies.reproduce.asked import Asked
from nestling.studies.reproduce.publish import Found, publish_alone
from nestling.studies.reproduce.section import Section
from nestling.studies.watch import Watch

NAME = "masked-words"


def reproduce(asked: Asked, *, watch: Watch) -> Mapping[str, Section]:
    """Train what is missing, measure, write.

    Raises:
        InputError: no such scale, or too few texts.
        DataError: the texts cannot be had.
        CheckpointError: a kept model is of another version, or damaged.
    """
    settings = get_settings(asked.scale, data=asked.data, seeds=1 if asked.seeds is None else asked.seeds)
    return run(settings, asked, watch=watch)


def run(settings: Settings, asked: Asked, *, watch: Watch) -> Mapping[str, Section]:
    """The same with settings of one's own; errors as of `reproduce`."""
    check_report_folder(asked.out)
    started = time.monotonic()
    words = study_words(settings, watch)
    watch.say(_about(words, settings))
    models = Models(asked.runs or data_folder() / "reproduce" / words.name, words, settings, watch)
    models.prepare()
    rows = measured(models)
    found = Found(rows, section(rows, settings), settings.command)
    return publish_alone(NAME, found, _about(words, settings), settings.seeds, started, asked.out, watch)


def _about(words: Words, settings: Settings) -> str:
    train = settings.train
    return (
        f"{words.name}: {words.count:,} texts, cut by their own bytes into {len(words.train):,} training and "
        f"{len(words.test):,} test rows of {settings.length} tokens. Every model is all-MiniLM-L6-v2, continued for "
        f"{train.steps:,} steps of {train.batch_size} rows at rate {train.lr:g}, with a new transform before the "
        f"decoder, which is the word embeddings cut to each prefix; {100 * settings.share:g} % of the tokens are "
        "hidden, in the test always the same. Settings were chosen on validation. Rows that begin with “paper” are "
        "the paper's figures for BERT-base; those that end in “?” were not checked against its text."
    )
