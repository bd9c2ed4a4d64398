"""``nestling train``: its options, and what they mean for pictures and for texts."""

from nestling.cli.train.command import add_to

__all__ = ["add_to"]
