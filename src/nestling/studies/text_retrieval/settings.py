"""What is adapted, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nestling.errors import InputError
from nestling.studies.reproduce.settings import SCALES

MINILM, WORDLLAMA, LITE0 = "all-MiniLM-L6-v2", "WordLlama", "EfficientNet-Lite0"
PACKAGES, GLOSSES, ICONS = "packages", "glosses", "icons"
PARTS = ("train", "tune", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that decides the numbers.

    Attributes:
        tasks: data set and model of each table.
        dims: prefixes; of a narrower model those that it has, and its width.
        seeds: of what is learnt, and of the random rotation.
        steps: of each learning, at most.
        shares: of packages (by their source) and glosses for training and tuning; the rest is the test.
        part: what the tables are of: "test", or "tune", to choose by.
        most: rows of training, and queries, at most; the gallery of classes is the training part.
        length: tokens that a text is cut to.
        scale: the name of these settings.
    """

    tasks: tuple[tuple[str, str], ...]
    dims: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 384)
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 400
    shares: tuple[float, float] = (0.7, 0.1)
    part: str = "test"
    most: tuple[int, int] = (100_000, 12_000)
    length: int = 128
    scale: str = "full"

    @property
    def command(self) -> str:
        """What to type for these numbers."""
        given = {"scale": (self.scale, "full"), "seeds": (len(self.seeds), 3)}
        options = [f" --{option} {value}" for option, (value, usual) in given.items() if value != usual]
        return f"nestling reproduce text-retrieval{''.join(options)}"


def get_settings(scale: str = "full", *, seeds: int = 3) -> Settings:
    """The published tables, or every row of one of each kind in two minutes.

    Raises:
        InputError: no such scale.
    """
    if scale not in SCALES:
        raise InputError.of("scale", " or ".join(SCALES), repr(scale))
    texts = tuple((data, model) for data in (PACKAGES, GLOSSES) for model in (MINILM, WORDLLAMA))
    full = Settings(tasks=(*texts, (ICONS, LITE0)), seeds=tuple(range(seeds)))
    if scale == "full":
        return full
    tasks = (PACKAGES, MINILM), (GLOSSES, WORDLLAMA)
    return replace(full, tasks=tasks, dims=(8, 64, 384), steps=20, most=(1_500, 300), length=32, scale=scale)
