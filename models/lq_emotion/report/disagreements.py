"""What the paper says and the authors' code does otherwise: subject, paper, code, consequence, switch."""

from __future__ import annotations

from lq_emotion.studies.robust_lq import disagreements

DISAGREEMENTS = tuple(
    (one.subject, one.paper or "not mentioned", one.code, one.consequence, one.switch)
    for one in disagreements.DISAGREEMENTS
)
