"""Lines of progress, from the code that works to the command that prints them."""

from collections.abc import Callable

Say = Callable[[str], None]
"""Receives a line of progress for the user."""
