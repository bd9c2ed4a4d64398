"""Which towers meet, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.studies.images import EncoderChoice
from nestling.studies.reproduce.settings import SCALES
from nestling.studies.texts import TextEncoderChoice
from nestling.training import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that decides the numbers.

    Attributes:
        nesting: the prefixes of the nested model, at which both are measured.
        image: the picture tower; it begins from nothing, unless weights are named.
        stages: channels of the compact picture tower.
        text: a name of `TextEncoderChoice`'s packages or a folder: the text tower, which was trained.
        tune: what of the text tower is trained on, as of `Encoder.tune`.
        length: tokens that captions are cut to.
        train: of both models; `head_lr` is for what begins from nothing. The seed is replaced by the model's.
        seeds: of first weights, order and captions; a table shows their mean.
        pixels: of a side.
        part: what the tables are of: "test", or "val", to choose by.
        most: training pictures, and pictures that are measured, at most.
        scale: the name of these settings.
    """

    nesting: Nesting
    train: TrainConfig
    image: EncoderChoice = EncoderChoice()  # noqa: RUF009  it is frozen
    stages: tuple[int, ...] = (32, 64, 128, 256)
    text: str = "minilm"
    tune: str = "last"
    length: int = 16
    seeds: tuple[int, ...] = (0,)
    pixels: int = 32
    part: str = "test"
    most: tuple[int, int] = (1 << 30, 20_000)
    scale: str = "full"

    @property
    def choice(self) -> TextEncoderChoice:
        """The text tower; so few steps need no dropout."""
        return TextEncoderChoice(pretrained=self.text, dropout=0.0)

    @property
    def command(self) -> str:
        """What to type for these numbers."""
        given = {"scale": (self.scale, "full"), "seeds": (len(self.seeds), 1)}
        options = [f" --{option} {value}" for option, (value, usual) in given.items() if value != usual]
        return f"nestling reproduce align-icons{''.join(options)}"


def get_settings(scale: str = "full", *, seeds: int = 1) -> Settings:
    """The published tables, or every row of them in minutes.

    Raises:
        InputError: no such scale, or no seed.
    """
    if scale not in SCALES:
        raise InputError.of("scale", " or ".join(SCALES), repr(scale))
    if seeds < 1:
        raise InputError.of("seeds", "at least 1", seeds)
    train = TrainConfig(
        epochs=3,  # both models: 2,832 steps, some 35 minutes on two idle cores by the time of single steps
        batch_size=512,
        lr=1e-4,
        head_lr=40.0,
        weight_decay=0.02,
        warmup_epochs=0.6,
        label_smoothing=0.0,
        clip_norm=None,
        precision="bf16",  # half the time where the CPU has it, and the same losses to two digits
        crop_padding=2,
        flip=False,  # an arrow to the left is none to the right
        checkpoint_every=100,
    )
    full = Settings(nesting=Nesting((8, 16, 32, 64, 128, 256)), train=train, seeds=tuple(range(seeds)))
    if scale == "full":
        return full
    short = replace(train, epochs=1, steps=120, batch_size=128, warmup_epochs=0.2)
    nesting, stages = Nesting((8, 32, 64)), (16, 32, 64)
    return replace(full, scale=scale, nesting=nesting, stages=stages, train=short, most=(16_000, 3_000))
