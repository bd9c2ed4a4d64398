"""What a run minimises: one module whose one forward gives the nested loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from nestling.errors import ShapeError
from nestling.losses import NestedLoss
from nestling.models import Classifier, Encoder, NestedLinear
from nestling.models.dual import LEAST_LOG_TEMPERATURE, DualEncoder
from nestling.nesting import Nesting


class Objective(nn.Module):
    """Inputs and targets in, `NestedLoss` out, in one forward, so that DDP sees one.

    Attributes:
        nesting: its dims name the parts of the loss, its weights are the c_m that `fit` passes.
        label_smoothing: of each prefix, set by `fit` from the configuration; for losses that have classes.
        divisible: the loss of a batch is the mean of its parts' losses.
    """

    nesting: Nesting
    divisible: bool = True
    label_smoothing: float | tuple[float, ...] = 0.0

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """Those that `head_lr` and `head_weight_decay` of the configuration are about."""
        return ()

    def bounds(self) -> Iterable[tuple[nn.Parameter, float]]:
        """Parameters with the least that they may be; `fit` keeps them there."""
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


class HeadObjective(Objective):
    """The nested cross-entropy of a head on features that do not change."""

    def __init__(self, head: NestedLinear) -> None:
        super().__init__()
        self.head, self.nesting = head, head.nesting

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """All there are."""
        return self.head.parameters()

    def forward(
        self, inputs: Float[Tensor, "b d"], targets: Int[Tensor, " b"], weights: Float[Tensor, " k"] | None = None
    ) -> NestedLoss:
        """The loss of a batch of features and labels."""
        return self.head.loss(inputs, targets, weights=weights, label_smoothing=self.label_smoothing)


class _Meeting(Objective):
    """What is trained of a dual encoder, whatever its captions come from."""

    divisible = False

    def __init__(self, model: DualEncoder, fresh: Sequence[Encoder]) -> None:
        super().__init__()
        self.model, self.nesting, self._fresh = model, model.nesting, tuple(fresh)

    def head_parameters(self) -> Iterable[nn.Parameter]:
        """The maps into the common space, the temperature, and towers that begin from nothing."""
        model = self.model
        towers = [p for tower in self._fresh for p in tower.parameters()]
        return (*model.image_map.parameters(), *model.text_map.parameters(), model.log_temperature, *towers)

    def bounds(self) -> Iterable[tuple[nn.Parameter, float]]:
        """The temperature's."""
        return ((self.model.log_temperature, LEAST_LOG_TEMPERATURE),)

    def _cut(self, ids: Int[Tensor, "b t"]) -> Int[Tensor, "b s"]:
        """Without the columns that are padding in all rows, for a tower that has a padding."""
        padding = getattr(self.model.text, "padding", None)
        if padding is None:
            return ids
        return ids[:, : max(1, int((ids != padding).any(dim=0).sum()))]


class ContrastiveObjective(_Meeting):
    """The nested InfoNCE of pictures and their captions; a picture's target is the row of its caption.

    Args:
        model: to train.
        captions: (r, t) token ids.
        groups: (r,) captions of the same number are not held against one another; equal rows when left out.
        fresh: towers that begin from nothing: they learn at the rate of a head, the others at that of a trained model.

    Raises:
        ShapeError: not one group per caption.
    """

    captions: Tensor
    groups: Tensor

    def __init__(
        self,
        model: DualEncoder,
        captions: Int[Tensor, "r t"],
        groups: Int[Tensor, " r"] | None = None,
        *,
        fresh: Sequence[Encoder] = (),
    ) -> None:
        super().__init__(model, fresh)
        equal = cast(Tensor, torch.unique(captions, dim=0, return_inverse=True)[1])
        chosen = equal if groups is None else groups
        if chosen.shape != captions.shape[:1]:
            raise ShapeError.of("groups", f"one per caption ({len(captions)})", f"shape {tuple(chosen.shape)}")
        self.register_buffer("captions", captions, persistent=False)
        self.register_buffer("groups", chosen, persistent=False)

    def forward(
        self,
        inputs: Shaped[Tensor, "b ..."],
        targets: Int[Tensor, " b"],
        weights: Float[Tensor, " k"] | None = None,
    ) -> NestedLoss:
        """The loss of a batch of pictures and the rows of their captions."""
        return self.model.loss(inputs, self._cut(self.captions[targets]), weights=weights, groups=self.groups[targets])


class CaptionObjective(_Meeting):
    """The nested InfoNCE of pictures and the token ids of their captions, for captions without end.

    Equal captions of a batch, on whichever process, are not held against one another.

    Args:
        model: to train.
        fresh: as of `ContrastiveObjective`.
    """

    def __init__(self, model: DualEncoder, *, fresh: Sequence[Encoder] = ()) -> None:
        super().__init__(model, fresh)

    def forward(
        self,
        inputs: Shaped[Tensor, "b ..."],
        targets: Int[Tensor, "b t"],
        weights: Float[Tensor, " k"] | None = None,
    ) -> NestedLoss:
        """The loss of a batch of pictures and their captions, all padded to one length."""
        return self.model.loss(inputs, self._cut(targets), weights=weights, groups=numbered(targets))


def numbered(ids: Int[Tensor, "b t"]) -> Int[Tensor, " b"]:
    """A number of each row that equal rows share, and others but for one in 2⁶⁰ do not.

    Nobody needs to see the other processes' rows for it: a sum of ids times odd numbers, modulo 2⁶⁴.
    """
    factors, each = list[int](), 1
    for _ in range(ids.shape[1]):
        each = each * 0x5851F42D4C957F2D % (1 << 64)
        factors.append(each - (1 << 64) if each >= 1 << 63 else each)
    return (ids.long() * torch.tensor(factors, device=ids.device)).sum(dim=1)
