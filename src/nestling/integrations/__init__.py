"""What Nestling makes, for other programs: export and adapt, one format or library per file."""

from nestling.integrations.onnx import OnnxDescription, describe_onnx, export_onnx

__all__ = ["OnnxDescription", "describe_onnx", "export_onnx"]
