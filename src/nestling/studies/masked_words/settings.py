"""How long the study trains, and on how much."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nestling.errors import InputError
from nestling.nesting import Nesting
from nestling.studies.reproduce.settings import SCALES
from nestling.studies.texts import TextEncoderChoice
from nestling.training import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that decides the numbers.

    Attributes:
        data: a file or a folder of texts, or None for WordNet's glosses.
        pretrained: what is continued, as of `TextEncoderChoice`.
        nesting: the prefixes of the nested model, and the widths of the plain ones.
        train: of every model, nested or plain; its seed is replaced by the model's.
        seeds: of the transform's first weights, of the order and of the masks.
        scale: the name of these settings.
        length: tokens of a row.
        share: of the tokens that are hidden.
        shares: of the texts for training and validation; the rest is the test, but for `most` of its rows.
        most: test rows that are measured at most.
    """

    data: str | None = None
    pretrained: str = "minilm"
    nesting: Nesting
    train: TrainConfig
    seeds: tuple[int, ...] = (0,)
    scale: str = "full"
    length: int = 128
    share: float = 0.15
    shares: tuple[float, float] = (0.88, 0.02)
    most: int = 4096

    @property
    def encoder(self) -> TextEncoderChoice:
        """What every model begins with; so few steps need no dropout."""
        return TextEncoderChoice(pretrained=self.pretrained, dropout=0.0)

    @property
    def command(self) -> str:
        """What to type for these numbers."""
        given = {"data": (self.data, None), "scale": (self.scale, "full"), "seeds": (len(self.seeds), 1)}
        options = [f" --{option} {value}" for option, (value, usual) in given.items() if value != usual]
        return f"nestling reproduce masked-words{''.join(options)}"


def get_settings(scale: str = "full", *, data: str | None = None, seeds: int = 1) -> Settings:
    """The published table, or every row of it in two minutes.

    The rate, its factor for the head and the length were chosen on validation, with the nested model (docs/LOG.md).

    Raises:
        InputError: no such scale, or no seed.
    """
    if scale not in SCALES:
        raise InputError.of("scale", " or ".join(SCALES), repr(scale))
    if seeds < 1:
        raise InputError.of("seeds", "at least 1", seeds)
    train = TrainConfig(
        steps=1000,
        batch_size=8,
        lr=5e-4,
        head_lr=10.0,
        weight_decay=0.01,
        schedule="linear",
        warmup_epochs=0.04,
        label_smoothing=0.0,
        clip_norm=None,  # a sum of losses has longer gradients than one loss: Adam does not care, a clip would
        precision="bf16",
        augment=False,
        checkpoint_every=100,
    )
    full = Settings(data=data, nesting=Nesting.halving(384, smallest=12), train=train, seeds=tuple(range(seeds)))
    if scale == "full":
        return full
    return replace(
        full, scale=scale, nesting=Nesting((12, 96, 384)), train=replace(train, steps=30, batch_size=4), most=64
    )
