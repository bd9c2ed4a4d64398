"""What Nestling makes, for other programs: export and adapt, one format or library per file."""

from nestling.integrations.onnx import OnnxDescription, describe_onnx, export_onnx
from nestling.integrations.sentence_transformers import NestedContrastiveLoss, export_sentence_transformers

__all__ = [
    "NestedContrastiveLoss",
    "OnnxDescription",
    "describe_onnx",
    "export_onnx",
    "export_sentence_transformers",
]
