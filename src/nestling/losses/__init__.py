"""Nested losses: tensors in, `NestedLoss` out. Nothing here owns or imports a model.

Weights c_m are given at each call (``weights=``, one per dim; the nesting's own when left out), so that a policy may
change them from step to step: the weighting is applied in one place, here.
"""

from nestling.losses.contrastive import contrastive
from nestling.losses.cross_entropy import mrl_cross_entropy, mrl_e_cross_entropy
from nestling.losses.result import NestedLoss
from nestling.losses.wrap import nest

__all__ = ["NestedLoss", "contrastive", "mrl_cross_entropy", "mrl_e_cross_entropy", "nest"]
