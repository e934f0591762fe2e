"""The report of an adaptation shows any name of a class as it is."""

import cv2
import numpy as np

from lq_emotion.training.adapt.faces import FacesFound
from lq_emotion.training.adapt.report import write_report
from lq_emotion.training.adapt.results import AdaptationResults, StageResults, scores_of_classes

NAMES = ("<script>alert(1)</script>", r"[a](b) | $\x$ `c`")


def test_names_of_classes_are_text(tmp_path):
    scores = scores_of_classes(np.eye(2), np.array([[0.0], [1.0]]), NAMES)
    stage = StageResults(2, 1, {1: 0.5, 2: 0.6}, ())
    results = AdaptationResults(
        model="<b>", weights="<i>.caffemodel", head_is_new=True, names=NAMES, persons={"test": ("p",)}, split=None,
        faces={"test": FacesFound(2, 0, (), ())}, stages={"frozen": stage, "unfrozen": stage},
        scores={"test": {"constant": scores, "frozen": scores, "adapted": scores}},
    )  # fmt: skip
    write_report(results, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "<" not in text
    assert "| &lt;script&gt;alert(1)&lt;/script&gt; | 1 |" in text
    assert r"| \[a\](b) \| $\\x$ \`c\` | 1 |" in text
    assert cv2.imread(str(tmp_path / "confusion.png")) is not None
