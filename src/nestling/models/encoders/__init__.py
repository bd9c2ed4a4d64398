"""Encoders by name, so that a saved model can be built again from its JSON.

Those that need `transformers` are named by their place: it takes seconds to import.
"""

from nestling.models.encoders.registry import ENCODERS, Encoder, build, encoder_class, register
from nestling.models.encoders.residual import ResidualEncoder

register("residual", ResidualEncoder)
register("resnet", "nestling.models.encoders.vision:ResNetEncoder")
register("vit", "nestling.models.encoders.vision:ViTEncoder")
register("efficientnet-lite0", "nestling.models.encoders.vision:EfficientNetLite0")
register("align-image", "nestling.models.encoders.align:AlignImageEncoder")
register("align-text", "nestling.models.encoders.align:AlignTextEncoder")
register("bert", "nestling.models.encoders.text:BertEncoder")

__all__ = ["ENCODERS", "Encoder", "ResidualEncoder", "build", "encoder_class", "register"]
