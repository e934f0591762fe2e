"""What the paper says and the authors' code does otherwise: subject, paper, code, consequence, switch."""

from __future__ import annotations

from lq_emotion.studies.robust_lq import disagreements

DISAGREEMENTS = tuple(
    (entry.subject, entry.paper or "not mentioned", entry.code, entry.consequence, entry.switch)
    for entry in disagreements.DISAGREEMENTS
)
