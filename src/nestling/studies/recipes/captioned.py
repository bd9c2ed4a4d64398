"""A recipe for pictures with captions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nestling.evaluation import Row
from nestling.nesting import Nesting
from nestling.studies.captioned import CaptionedRun, TowerChoice, train_captioned
from nestling.studies.captioned.source import CaptionedReading
from nestling.studies.images import EncoderChoice
from nestling.studies.recipes.command import Recipe
from nestling.studies.texts import TextEncoderChoice
from nestling.studies.watch import Watch


@dataclass(frozen=True, kw_only=True)
class CaptionedRecipe(Recipe):
    """A dual encoder on shards or files of pictures and captions.

    Attributes:
        encoder, pretrained: of pictures, as of `EncoderChoice`.
        text, text_pretrained, tokenizer, dropout: of texts, as `name` and the rest of `TextEncoderChoice`.
        align: a whole `AlignModel` instead of both, as of `TowerChoice`.
        dims: the prefixes.
        size, channels, crop, flip, length, val_fraction: as of `CaptionedReading`.
    """

    encoder: str
    text: str
    dims: str
    pretrained: str | None = None
    text_pretrained: str | None = None
    tokenizer: str | None = None
    dropout: float | None = None
    align: str | None = None
    size: int = 224
    channels: int = 3
    crop: float | None = None
    flip: bool = False
    length: int = 64
    val_fraction: float = 0.01

    def run(self, *, resume: bool, watch: Watch) -> list[Row]:
        """Train, save and measure."""
        run = CaptionedRun(
            pairs=self.data,
            out=Path(self.out),
            nesting=Nesting.parse(self.dims),
            train=self.train,
            towers=TowerChoice(
                image=EncoderChoice(name=self.encoder, pretrained=self.pretrained),
                text=TextEncoderChoice(self.text, self.text_pretrained, self.tokenizer, self.dropout),
                align=self.align,
            ),
            reading=CaptionedReading(
                size=self.size,
                channels=self.channels,
                crop=self.crop,
                flip=self.flip,
                length=self.length,
                val_fraction=self.val_fraction,
                seed=self.train.seed,
                strict=self.strict,
            ),
            workers=self.workers,
        )
        return train_captioned(run, resume=resume, watch=watch)
