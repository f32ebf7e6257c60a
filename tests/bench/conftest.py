"""Databases for the tests of benchmarks."""

from tests.tagging.conftest import world, worlds

__all__ = ["world", "worlds"]
