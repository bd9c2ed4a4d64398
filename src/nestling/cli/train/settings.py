"""What pictures and texts are trained by alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch loads when a training begins, not for --help
    from nestling.training import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of a training as they were given; None where nobody said."""

    epochs: int | None
    steps: int | None
    batch_size: int | None
    lr: float | None
    optimizer: str
    weight_decay: float
    schedule: str
    warmup: float | None
    precision: str
    accumulate: int
    fsdp: bool
    seed: int
    checkpoint_every: int

    def config(self, usual: tuple[int, int, float], *, warmup: Callable[[int], float]) -> TrainConfig:
        """With what is usual where nobody said; labels are not smoothed.

        Args:
            usual: epochs, batch size and peak rate; warmup: epochs up to the peak, of all epochs.

        Raises:
            InputError: a value is out of range.
        """
        from nestling.training import TrainConfig

        usual_epochs, usual_size, usual_lr = usual
        epochs = usual_epochs if self.epochs is None else self.epochs
        return TrainConfig(
            epochs=epochs,
            steps=self.steps,
            batch_size=usual_size if self.batch_size is None else self.batch_size,
            lr=usual_lr if self.lr is None else self.lr,
            optimizer=self.optimizer,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            warmup_epochs=warmup(epochs) if self.warmup is None else self.warmup,
            label_smoothing=0.0,
            precision=self.precision,
            accumulate=self.accumulate,
            fsdp=self.fsdp,
            seed=self.seed,
            checkpoint_every=self.checkpoint_every,
        )
