"""The same world as execution's tests have: a real journal, a venue in memory."""

from tests.execution.conftest import empty_journal, make_world

__all__ = ["empty_journal", "make_world"]
