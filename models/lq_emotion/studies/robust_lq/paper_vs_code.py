"""docs/paper_vs_code.md, from the list of disagreements and the switches.

``python -m lq_emotion.studies.robust_lq.paper_vs_code > docs/paper_vs_code.md`` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from lq_emotion.nets.definitions import parts
from lq_emotion.nets.switches import AS_CODE, AS_PAPER, choices, told
from lq_emotion.studies.robust_lq.disagreements import DISAGREEMENTS
from lq_emotion.studies.robust_lq.stages import DRAWS
from lq_emotion.training.plateau import MOST, PATIENCE

_HEAD = """\
<!-- Made by: python -m lq_emotion.studies.robust_lq.paper_vs_code > docs/paper_vs_code.md -->
# Paper and code

Where *Robust Emotion Recognition from Low Quality and Low Bit Rate Video* (arXiv 1709.03126) and the code its authors
published part, this package follows the code, with which the published weights were trained. Every disagreement that
something could be done about is a switch. The paper's sections, and the lines of
[the authors' repository](https://github.com/bowenc0221/Robust-LQ-Emotion-Recognition) at dde3c1c, say where to look.
Of the settings, the code's is in bold and the paper's in italics.
"""
_USE = """\
```
lq-emotion table ... --as paper                          # every switch as the paper has it
lq-emotion table ... --switch loss=ccc luminance=gray    # the code's, but for these
lq-emotion train ... --as paper --switch loss=ccc        # one net, on HDF5 files that fit
```

What a switch touches is done again when it is changed, and all that depends on it; a training of other settings is
moved to `runs_before`. table.json, the titles of the tables and the report name the switches. Each training's changes
stand in its train.json, and the net to apply in its deploy.prototxt, which `evaluate` and `rd` find by themselves.
In Python, ``replace(AS_PAPER, loss="ccc")`` goes to the builders in `nets` and to both classes named `Experiment`.

What the text leaves open, and what was chosen:
"""
_CHOSEN = {
    "input_size": "LR-s and Joint-s take 96/s × 96/s. Joint-OA learns from every frame at every factor of the mixture: "
    "a branch for each size, of one set of weights (a batch of 128 holds 43, 43 and 42). Non-Joint stays enlarged, as "
    "SR-FCN gives as many pixels as it takes. `rd` shows enlarged faces only.",
    "luminance": "`gray` is Y stretched so that black is 0 and white is 1.",
    "normalisation": "`face` is a layer of the net, MVN, on the picture that the valence is told from: the input, or "
    "with separate_regressor what SR-FCN makes of it; SR-FCN itself learns from pictures as they are. `file` is the "
    "code's option; recordings are scored with the training file's mean and deviation.",
    "sr_pictures": "without `--sr-pictures` there are no natural ones, and faces of the training recordings take their "
    "place.",
    "sr_schedule": "`paper` keeps the code's moments to test and to save.",
    "lr_on_plateau": f"a tenth after {PATIENCE} tests in a row that are no better than the best, at most {MOST} times; "
    "SR-FCN's rate is constant in the paper as well.",
    "separate_regressor": "no size is given; the fully connected net has as many hidden units as make the net's "
    "parameters as many as CNN+D's, as § 4.1 claims for all models: 33 as the paper (1,336,196 parameters, the others "
    "1,333,401), 299 with the code's other settings.",
    "mixture": f"`each_epoch` writes a file of {DRAWS} passes, each with draws of its own, and then begins again. "
    "Faces at their own sizes are not drawn.",
    "smallest_face": "frames without any face are left out either way.",
    "loss": "`ccc` is 1 − CCC of a batch, for valence only; SR-FCN then learns by the mean of squares.",
}


def markdown() -> str:
    """Return docs/paper_vs_code.md."""
    chosen = (f"- `{name}`: {text}" for name, text in _CHOSEN.items())
    return "\n".join((_HEAD, *_table(), "", _USE, *chosen)) + "\n"


def _table() -> Iterator[str]:
    yield "| | the paper says | the code does | so that | switch: settings | touches |"
    yield "|---|---|---|---|---|---|"
    for one in DISAGREEMENTS:
        paper = f"{one.paper} (§ {one.where})" if one.where else "–"
        lines = ", ".join(f"`{line}`" for line in one.line.split(", "))
        switch = _settings(one.switch) if one.switch else f"no switch: {one.why}"
        touches = _touches(one.switch) if one.switch else "–"
        yield f"| {one.subject} | {paper} | {one.code} ({lines}) | {one.consequence} | {switch} | {touches} |"


def _settings(name: str) -> str:
    shown = []
    for value in choices()[name]:
        marks = ("**" if value == getattr(AS_CODE, name) else "") + ("*" if value == getattr(AS_PAPER, name) else "")
        shown.append(f"{marks}{told(value)}{marks}")
    return f"`{name}`: {', '.join(shown)}"


def _touches(name: str) -> str:
    return ", ".join(dict.fromkeys(part for value in choices()[name] for part in parts(name, value)))


if __name__ == "__main__":
    sys.stdout.write(markdown())
