"""A recipe for pictures with classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nestling.evaluation import Row
from nestling.nesting import Nesting
from nestling.studies.images import EncoderChoice, ImageRun, reading_of, train_images
from nestling.studies.recipes.command import Recipe
from nestling.studies.watch import Watch


@dataclass(frozen=True, kw_only=True)
class ImageRecipe(Recipe):
    """What `nestling train --images` does.

    Attributes:
        encoder, pretrained, tune: as of `EncoderChoice`.
        dims: the prefixes; tied: MRL-E.
        size, channels, crop, flip, grow, val_fraction: as of `reading_of`.
    """

    encoder: str
    dims: str
    pretrained: str | None = None
    tune: str = "all"
    tied: bool = False
    size: int = 224
    channels: int = 3
    crop: float | None = 0.08
    flip: bool = True
    grow: str | None = None
    val_fraction: float = 0.1

    def run(self, *, resume: bool, watch: Watch) -> list[Row]:
        """Train, save and measure."""
        reading = reading_of(
            self.data,
            size=self.size,
            channels=self.channels,
            val_fraction=self.val_fraction,
            seed=self.train.seed,
            crop=self.crop,
            flip=self.flip,
            grow=self.grow,
            workers=self.workers,
        )
        run = ImageRun(
            images=self.data,
            out=Path(self.out),
            nesting=Nesting.parse(self.dims),
            train=replace(self.train, flip=self.flip),
            tied=self.tied,
            encoder=EncoderChoice(name=self.encoder, pretrained=self.pretrained, tune=self.tune),
            reading=reading,
            workers=self.workers,
            strict=self.strict,
        )
        return train_images(run, resume=resume, watch=watch)
