"""What a run minimises: one module whose one forward gives the nested loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from nestling.losses import NestedLoss
from nestling.models import Classifier
from nestling.nesting import Nesting


class Objective(nn.Module):
    """Inputs and targets in, `NestedLoss` out, in one forward, so that DDP sees one.

    Attributes:
        nesting: its dims name the parts of the loss, its weights are the c_m that `fit` passes.
        label_smoothing: of each prefix, set by `fit` from the configuration; for losses that have classes.
    """

    nesting: Nesting
    label_smoothing: float | tuple[float, ...] = 0.0

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """Those that `head_lr` and `head_weight_decay` of the configuration are about."""
        return ()

    @abstractmethod
    def forward(
        self,
        inputs: Shaped[Tensor, "b ..."],
        targets: Shaped[Tensor, "b ..."],
        weights: Float[Tensor, " k"] | None,
    ) -> NestedLoss:
        """The loss of one batch under the weights c_m of this step."""


class ClassificationObjective(Objective):
    """The nested cross-entropy of a classifier; label smoothing comes from the configuration."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.nesting = classifier.head.nesting

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """The head's."""
        return self.classifier.head.parameters()

    def forward(
        self,
        inputs: Shaped[Tensor, "b ..."],
        targets: Int[Tensor, " b"],
        weights: Float[Tensor, " k"] | None = None,
    ) -> NestedLoss:
        """The loss of a batch of images and labels."""
        return self.classifier.loss(inputs, targets, weights=weights, label_smoothing=self.label_smoothing)
