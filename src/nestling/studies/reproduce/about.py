"""What a reproduction tells of itself: its data, its seeds, and what to type."""

from __future__ import annotations

from nestling.studies.reproduce.images import StudyImages
from nestling.studies.reproduce.settings import Settings


def about_run(settings: Settings, images: StudyImages) -> str:
    """What the numbers are of, and how to read them."""
    return (
        f"{images.name}: {len(images.train):,} training, {len(images.val):,} validation and "
        f"{len(images.test):,} test images of {len(images.classes)} classes. Seeds {_list(settings.seeds)}"
        f" ({_list(settings.few_dims_seeds)} at 16 dims and below); ± is half the range of the seeds. Everything was "
        "chosen on validation. Rows that begin with “paper” are the paper's figures for ResNet-50 on ImageNet-1K; "
        "those that end in “?” were not checked against its text. MRL and MRL-E are finished (a rotation behind the "
        "encoder, short heads refitted on frozen features), FF too where validation prefers it; “raw” are the same "
        "models before, “projected” have a learnt linear map behind the encoder."
    )


def command_of(name: str, settings: Settings) -> str:
    """What to type for these numbers."""
    given = {"data": (settings.data, "icons-600"), "scale": (settings.scale, "full"), "seeds": (len(settings.seeds), 3)}
    options = [f" --{option} {value}" for option, (value, usual) in given.items() if value != usual]
    return f"nestling reproduce {name}{''.join(options)}"


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
