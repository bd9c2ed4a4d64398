"""``nestling train --pairs``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nestling.cli.train.settings import Settings
from nestling.evaluation import Row
from nestling.nesting import Nesting
from nestling.studies.text_pairs import PairRun, Prompts, train_pairs
from nestling.studies.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The options that only texts have, as they were given."""

    pairs: str
    dims: str | None
    encoder: str
    query_prompt: str
    doc_prompt: str
    max_length: int | None
    val_fraction: float
    temperature: float
    chunk: int
    hard_negatives: int
    margin: float
    compare: bool

    def train(self, settings: Settings, out: Path, *, resume: bool, watch: Watch) -> list[Row]:
        """Train, turn and measure."""
        usual = settings.config((1, 128, 5e-5), warmup=lambda epochs: 0.1 * epochs)
        run = PairRun(
            pairs=self.pairs,
            out=out,
            train=replace(usual, augment=False, clip_norm=None),
            nesting=None if self.dims is None else Nesting.parse(self.dims),
            encoder=self.encoder,
            prompts=Prompts(self.query_prompt, self.doc_prompt),
            longest=self.max_length,
            held_out=self.val_fraction,
            temperature=self.temperature,
            chunk=self.chunk,
            negatives=self.hard_negatives,
            margin=self.margin,
            compare=self.compare,
        )
        rows = train_pairs(run, resume=resume, watch=watch)
        if rows:  # none in all but the first of several processes
            watch.say(f"\nModel: {out / 'model'} (sentence-transformers)   rows: {out / 'rows.jsonl'}")
        return rows
