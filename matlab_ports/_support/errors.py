"""The one error these ports raise for what a user can put right."""

from __future__ import annotations


class PortError(ValueError):
    """Something the caller gave cannot be used.

    Parameters
    ----------
    problem
        What is wrong, with the offending value in it.
    where
        The file or the argument it is wrong with; it begins the message.
    hint
        What would work; it ends the message.
    """

    def __init__(self, problem: str, *, where: object | None = None, hint: str | None = None) -> None:
        self.problem = problem
        self.where = where
        self.hint = hint
        message = problem if where is None else f"{where}: {problem}"
        super().__init__(message if hint is None else f"{message}; {hint}")
