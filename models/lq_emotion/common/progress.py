"""Progress: lines for the user, and steps of a bar, from the code that works to the command that shows them."""

from collections.abc import Callable

Say = Callable[[str], None]
"""Receives a line of progress for the user."""

Progress = Callable[[int], object]
"""Receives the number of frames processed since the last call."""
