"""What a reproduction tells of itself: its data, its seeds, its machine, and what to type."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from nestling.errors import DataError, InputError
from nestling.files import write_file
from nestling.nesting import Nesting
from nestling.studies.machine import commit, machine
from nestling.studies.reproduce.images import StudyImages
from nestling.studies.reproduce.settings import Settings
from nestling.training import TrainConfig

NAME = "run.json"
_SEEDS = ("once", "seeds", "few_dims_seeds")


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """A run, or several that were joined.

    Attributes:
        settings: of all of them together.
        images: how many of which, in words.
        fingerprint: of the images.
        machines: what ran where, a line each.
    """

    settings: Settings
    images: str
    fingerprint: str
    machines: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write ``run.json``."""
        write_file(folder / NAME, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> About:
        """Read ``run.json``.

        Raises:
            DataError: it is missing, or no such file.
        """
        try:
            found = json.loads((folder / NAME).read_text(encoding="utf-8"))
            settings = _settings(found["settings"])
            images, fingerprint, machines = (found[name] for name in ("images", "fingerprint", "machines"))
            return cls(
                settings=settings, images=str(images), fingerprint=str(fingerprint), machines=tuple(map(str, machines))
            )
        except (OSError, ValueError, KeyError, TypeError, InputError) as error:
            raise DataError(
                f"{folder / NAME} cannot be read ({error}). Name a folder that `nestling reproduce` wrote."
            ) from error

    def took(self, minutes: float) -> About:
        """The same, with how long it took, what was trained before not counted."""
        return replace(self, machines=tuple(f"{each} · {minutes:.0f} minutes" for each in self.machines))

    def joined(self, other: About) -> About:
        """Both, if they are parts of one reproduction.

        Raises:
            InputError: they differ in more than their seeds, or a seed is in both.
        """
        mine, theirs = self.settings, other.settings
        if replace(mine, **_seeds(theirs)) != theirs or self.fingerprint != other.fingerprint:
            raise InputError.of("join", "runs of the same data and settings", f"{self.images} and {other.images}")
        twice = set(mine.few_dims_seeds) & set(theirs.few_dims_seeds)
        if twice:
            raise InputError.of("join", "runs of different seeds", f"seed {min(twice)} twice")
        both = {name: tuple(sorted((*getattr(mine, name), *getattr(theirs, name)))) for name in _SEEDS}
        return replace(self, settings=replace(mine, **both), machines=(*self.machines, *other.machines))


def about_run(settings: Settings, images: StudyImages) -> About:
    """A run on this machine."""
    counts = (
        f"{images.name}: {len(images.train):,} training, {len(images.val):,} validation and "
        f"{len(images.test):,} test images of {len(images.classes)} classes"
    )
    place = where(settings.few_dims_seeds)
    return About(settings=settings, images=counts, fingerprint=images.fingerprint(), machines=(place,))


def where(seeds: Sequence[int], minutes: float | None = None) -> str:
    """What was run on this machine, and how long it took."""
    facts = machine() | ({"commit": known} if (known := commit()) else {})
    told = " · ".join(f"{name} {value}" for name, value in facts.items())
    return f"Seeds {_list(seeds)}: {told}" + ("" if minutes is None else f" · {minutes:.0f} minutes")


def in_words(about: About) -> str:
    """What the numbers are of, and how to read them."""
    settings = about.settings
    return (
        f"{about.images}. Seeds {_list(settings.seeds)}"
        f" ({_list(settings.few_dims_seeds)} at 16 dims and below); ± is half the range of the seeds. Everything was "
        "chosen on validation. Rows that begin with “paper” are the paper's figures for ResNet-50 on ImageNet-1K; "
        "those that end in “?” were not checked against its text. MRL and MRL-E are finished (a rotation behind the "
        "encoder, short heads refitted on frozen features), FF too where validation prefers it; “raw” are the same "
        "models before, “projected” have a learnt linear map behind the encoder."
    )


def command_of(name: str, settings: Settings) -> str:
    """What to type for these numbers."""
    given: dict[str, tuple[object, object]] = {
        "data": (settings.data, "icons-600"),
        "scale": (settings.scale, "full"),
    }
    if settings.seeds == tuple(range(len(settings.seeds))) and settings.seeds:
        given["seeds"] = (len(settings.seeds), 3)
    else:
        given["only-seed"] = (settings.few_dims_seeds[0], None)
    options = [f" --{option} {value}" for option, (value, usual) in given.items() if value != usual]
    return f"nestling reproduce {name}{''.join(options)}"


def _settings(found: Mapping[str, Any]) -> Settings:
    train = TrainConfig(**{name: _tuples(value) for name, value in found["train"].items()})
    nesting = Nesting(**{name: _tuples(value) for name, value in found["nesting"].items()})
    known = {field.name for field in fields(Settings)}
    plain = {name: _tuples(value) for name, value in found.items() if name in known}
    return Settings(**{**plain, "train": train, "nesting": nesting})


def _seeds(settings: Settings) -> dict[str, tuple[int, ...]]:
    return {name: getattr(settings, name) for name in _SEEDS}


def _tuples(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
