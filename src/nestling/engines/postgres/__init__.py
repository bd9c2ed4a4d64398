"""PostgreSQL with pgvector: a column is read, and a plan becomes an expression index and a query."""

from nestling.engines.postgres.column import Column, connected, describe, read_sample
from nestling.engines.postgres.statements import Compiled, compile_plan

__all__ = ["Column", "Compiled", "compile_plan", "connected", "describe", "read_sample"]
