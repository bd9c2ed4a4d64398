"""Models: encoders, the heads on every prefix, what is trained of both, and their file format."""

from nestling.models.align import align_model
from nestling.models.classifier import Classifier
from nestling.models.dual import DualEncoder
from nestling.models.encoders import ENCODERS, Encoder, ResidualEncoder, build, register
from nestling.models.encoders.align import AlignImageEncoder, AlignTextEncoder
from nestling.models.encoders.text import BertEncoder
from nestling.models.encoders.vision import EfficientNetLite0, ResNetEncoder, ViTEncoder
from nestling.models.heads import NestedLinear
from nestling.models.masked import MaskedLanguageModel
from nestling.models.store import load, save

__all__ = [
    "ENCODERS",
    "AlignImageEncoder",
    "AlignTextEncoder",
    "BertEncoder",
    "Classifier",
    "DualEncoder",
    "EfficientNetLite0",
    "Encoder",
    "MaskedLanguageModel",
    "NestedLinear",
    "ResNetEncoder",
    "ResidualEncoder",
    "ViTEncoder",
    "align_model",
    "build",
    "load",
    "register",
    "save",
]
