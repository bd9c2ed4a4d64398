"""``nestling train --images``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nestling.cli.console import ConsoleWatch
from nestling.cli.train.settings import Settings
from nestling.evaluation import Row
from nestling.nesting import Nesting
from nestling.studies.images import ImageRun, choose, reading_of, train_frozen, train_images


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The options that only pictures have, as they were given."""

    images: str
    dims: str
    tied: bool
    encoder: str | None
    pretrained: str | None
    tune: str
    unfreeze: str | None
    size: int | None
    grey: bool
    val_fraction: float
    crop: float | None
    flip: bool
    grow: str | None
    workers: int | None
    label_smoothing: float
    smooth_from: int
    strict: bool

    def train(self, settings: Settings, out: Path, *, resume: bool, watch: ConsoleWatch) -> list[Row]:
        """Train, measure every prefix, and tell what to do next."""
        choice = choose(
            self.images,
            encoder=self.encoder,
            pretrained=self.pretrained,
            tune=self.tune,
            size=self.size,
            grey=self.grey,
            unfreeze=self.unfreeze,
            from_pictures=self.crop is not None or self.grow is not None,
        )
        config = replace(
            settings.config(choice.usual, warmup=lambda epochs: min(1.0, epochs / 4)),
            label_smoothing=self.label_smoothing,
            smooth_from=self.smooth_from,
            flip=self.flip,
        )
        run = ImageRun(
            images=self.images,
            out=out,
            nesting=Nesting.parse(self.dims),
            train=config,
            tied=self.tied,
            encoder=choice.encoder,
            reading=reading_of(
                self.images,
                size=choice.size,
                channels=1 if self.grey else 3,
                val_fraction=self.val_fraction,
                seed=settings.seed,
                crop=self.crop,
                flip=self.flip,
                grow=self.grow,
                workers=self.workers,
            ),
            workers=self.workers,
            strict=self.strict,
        )
        if choice.why:
            watch.say(choice.why)
        if choice.frozen:
            rows = train_frozen(run, unfreeze=self.unfreeze, resume=resume, watch=watch)
        else:
            rows = train_images(run, resume=resume, watch=watch)
        if rows:  # none in all but the first of several processes
            watch.prefix_table("Validation, %", rows)
            self._tell_next(out, watch, heads=choice.frozen and self.unfreeze is None, size=choice.size)
        return rows

    def _tell_next(self, out: Path, watch: ConsoleWatch, *, heads: bool, size: int) -> None:
        """Where the model is, and what to do with it; heads: only they were trained, on frozen features."""
        log = out / ("frozen/heads/log.jsonl" if heads else "log.jsonl")
        watch.say(f"\nModel: {out / 'model'}   log: {log}   rows: {out / 'rows.jsonl'}")
        watch.say(f"Next:  nestling encode {out} {self.images} --out {out / 'vectors'}")
        watch.say(f"       nestling predict PICTURES --run {out} --accuracy 0.9")
        if heads:
            same = f"--dims {self.dims}{' --tied' * self.tied} --size {size}"
            watch.say(f"       nestling train --images {self.images} --out {out} {same} --unfreeze last")
