"""Questions that a paper leaves open: its text is silent, contradicts itself, or disagrees with its code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lq_emotion.common.document import Column, Table, code, row


@dataclass(frozen=True)
class Question:
    """A question, and how it is answered here."""

    subject: str
    text: str
    """The statement of the text; "" if it is silent."""
    evidence: str = ""
    """What speaks for an answer, or the effect of the code's choice; "" if nothing does."""
    switches: tuple[str, ...] = ()
    """Settings that choose an answer."""
    answer: str = ""
    """What is done here, or why no setting chooses."""
    where: str = ""
    """Section of the text."""
    code: str = ""
    """What the authors published."""
    line: str = ""
    """Its lines: file:line, relative to their repository."""


def questions_table(caption: str, questions: Sequence[Question], here: Callable[[Question], str]) -> Table:
    """Return a table of questions with the answers `here`; with a column for the code if the authors published any."""
    with_code = any(question.code for question in questions)
    titles = ("", "paper", *(("code", "effect") if with_code else ("what speaks for an answer",)), "switch", "here")
    rows = (
        row(
            question.subject, question.text or "not mentioned", *((question.code,) if with_code else ()),
            question.evidence or "–", ", ".join(map(code, question.switches)) or "none", here(question),
        )
        for question in questions
    )  # fmt: skip
    return Table(caption, tuple(Column(title, number=False) for title in titles), tuple(rows))
