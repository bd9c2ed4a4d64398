"""What Matryoshka embeddings are compared with: models of one width, SVD, randomly chosen features."""

from nestling.baselines.base import Baseline
from nestling.baselines.fixed_feature import FixedFeature
from nestling.baselines.random_features import RandomFeatures
from nestling.baselines.svd import SVD

__all__ = ["SVD", "Baseline", "FixedFeature", "RandomFeatures"]
