"""Encoders by name, so that a saved model can be built again from its JSON."""

from nestling.models.encoders.registry import ENCODERS, Encoder, build, register
from nestling.models.encoders.residual import ResidualEncoder

register(ResidualEncoder.name, ResidualEncoder)

__all__ = ["ENCODERS", "Encoder", "ResidualEncoder", "build", "register"]
