"""Models: encoders, the heads on every prefix, a classifier of both, and its file format."""

from nestling.models.classifier import Classifier
from nestling.models.encoders import ENCODERS, Encoder, ResidualEncoder, register
from nestling.models.heads import NestedLinear
from nestling.models.store import load, save

__all__ = ["ENCODERS", "Classifier", "Encoder", "NestedLinear", "ResidualEncoder", "load", "register", "save"]
