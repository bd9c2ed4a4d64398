"""What Matryoshka embeddings are compared with: models of one width, SVD, PCA, slimmable nets, random features."""

from nestling.baselines.base import Baseline
from nestling.baselines.fixed_feature import FixedFeature
from nestling.baselines.pca import PCA
from nestling.baselines.random_features import RandomFeatures
from nestling.baselines.slimmable import Slimmable
from nestling.baselines.svd import SVD

__all__ = ["PCA", "SVD", "Baseline", "FixedFeature", "RandomFeatures", "Slimmable"]
