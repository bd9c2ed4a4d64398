"""A recipe for texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nestling.evaluation import Row
from nestling.nesting import Nesting
from nestling.studies.recipes.command import Recipe
from nestling.studies.texts import TextEncoderChoice, TextRun, train_texts
from nestling.studies.watch import Watch


@dataclass(frozen=True, kw_only=True)
class TextRecipe(Recipe):
    """Masked language modelling on files of texts; a file that cannot be read ends it, whatever `strict` says.

    Attributes:
        encoder, pretrained, tokenizer, dropout: as of `TextEncoderChoice`.
        dims: the prefixes.
        column: of .parquet files; length: tokens of a row; share: of the tokens that are hidden.
        val_fraction: share of the texts that are held out.
    """

    encoder: str
    dims: str
    pretrained: str | None = None
    tokenizer: str | None = None
    dropout: float | None = None
    column: str | None = None
    length: int = 512
    share: float = 0.15
    val_fraction: float = 0.01

    def run(self, *, resume: bool, watch: Watch) -> list[Row]:
        """Train, save and measure."""
        run = TextRun(
            texts=self.data,
            out=Path(self.out),
            nesting=Nesting.parse(self.dims),
            train=self.train,
            encoder=TextEncoderChoice(self.encoder, self.pretrained, self.tokenizer, self.dropout),
            column=self.column,
            length=self.length,
            share=self.share,
            val_fraction=self.val_fraction,
        )
        return train_texts(run, resume=resume, watch=watch)
