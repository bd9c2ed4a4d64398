"""Train a nested and a plain model of pictures and captions, measure both at every prefix, and publish the tables."""

from __future__ import annotations

import time
from collections.abc import Mapping

from nestling.data.cache import data_folder
from nestling.errors import InputError
from nestling.studies.align_icons.models import Models
from nestling.studies.align_icons.pairs import Pairs, study_pairs
from nestling.studies.align_icons.settings import Settings, get_settings
from nestling.studies.align_icons.table import measured, section
from nestling.studies.page import check_report_folder
from nestling.studies.reproduce.asked import Asked
from nestling.studies.reproduce.publish import Found, publish_alone
from nestling.studies.reproduce.section import Section
from nestling.studies.watch import Watch

NAME = "align-icons"


def reproduce(asked: Asked, *, watch: Watch) -> Mapping[str, Section]:
    """Train what is missing, measure, write.

    Raises:
        InputError: no such scale, or data of one's own.
        DataError: the icons cannot be had.
        CheckpointError: a kept model is of another version, or damaged.
    """
    if asked.data is not None:
        raise InputError.of(
            "--data", f"left out of {NAME}", repr(asked.data), "`nestling recipe align` trains on data of your own."
        )
    settings = get_settings(asked.scale, seeds=1 if asked.seeds is None else asked.seeds)
    check_report_folder(asked.out)
    return run(settings, study_pairs(settings, watch), asked, watch=watch)


def run(settings: Settings, pairs: Pairs, asked: Asked, *, watch: Watch) -> Mapping[str, Section]:
    """The same with settings and pairs of one's own; errors as of `reproduce`."""
    check_report_folder(asked.out)
    started = time.monotonic()
    watch.say(pairs.about)
    models = Models(asked.runs or data_folder() / "reproduce" / NAME, pairs, settings, watch)
    models.prepare()
    rows = measured(models)
    found = Found(rows, section(rows, settings), settings.command)
    return publish_alone(NAME, found, _about(pairs, settings), settings.seeds, started, asked.out, watch)


def _about(pairs: Pairs, settings: Settings) -> str:
    train = settings.train
    long = f"{train.steps:,} steps" if train.steps else f"{train.epochs} epochs"
    return (
        f"{pairs.name}: {pairs.about}. Both models have a picture tower ({settings.image.name}) that begins from "
        f"{settings.image.pretrained or 'nothing'} and "
        f"all-MiniLM-L6-v2 ({settings.tune} of it trained on) as the text tower, {long} of {train.batch_size} pairs, a "
        "learnt temperature and the symmetric InfoNCE, in which captions that say the same are not held against one "
        "another: the nested model's at every prefix, the plain one's at full width. Of a picture's captions (name, "
        "style, category, aliases) every pass draws one. Tables are of families of icons that training has not seen."
    )
