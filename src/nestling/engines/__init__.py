"""Databases of others that execute a plan: one file, or one folder, per database."""

from nestling.engines.postgres import Column, Compiled, compile_plan, connected, describe, read_sample

__all__ = ["Column", "Compiled", "compile_plan", "connected", "describe", "read_sample"]
