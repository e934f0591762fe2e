"""Generate docs/paper_vs_code.md from the list of disagreements and the switches.

``python -m lq_emotion.studies.robust_lq.paper_vs_code > docs/paper_vs_code.md`` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from lq_emotion.nets.definitions import parts
from lq_emotion.nets.switches import AS_CODE, AS_PAPER, choices, format_setting
from lq_emotion.studies.questions import Question
from lq_emotion.studies.robust_lq.disagreements import DISAGREEMENTS
from lq_emotion.studies.robust_lq.plan import VALIDATION
from lq_emotion.studies.robust_lq.work import DRAWS
from lq_emotion.training.plateau import MOST, PATIENCE

_HEAD = """\
<!-- Generated: python -m lq_emotion.studies.robust_lq.paper_vs_code > docs/paper_vs_code.md -->
# Paper and code

*Robust Emotion Recognition from Low Quality and Low Bit Rate Video* (arXiv 1709.03126) and the code that its authors
published disagree in places. By default this package follows the code, because the published weights were trained with
it. Each entry cites the paper's section (§) and the lines in
[the authors' repository](https://github.com/bowenc0221/Robust-LQ-Emotion-Recognition) at commit dde3c1c.

## Choose a side

```
lq-emotion study run robust-lq ... --as paper        # every switch on the paper's side
lq-emotion study run robust-lq ... --switch loss=ccc luminance=gray    # the code's side, except for these two
lq-emotion study train ... --as paper --switch loss=ccc        # one net, on HDF5 files that match
```

If a switch changes, the stages that it affects run again, and so do those that depend on them. Trainings with other
settings move to `runs_before`. Results and report name the switches. Each training records its changes in train.json
and the net to apply in deploy.prototxt, which `evaluate` and `rd` find by themselves.

## Switches

The code's setting is in bold, the paper's in italics.
"""
_CHOSEN = {
    "input_size": "LR-s and Joint-s take 96/s × 96/s. Joint-OA learns from every frame at every factor of the mixture: "
    "it has a branch for each size, with shared weights (a batch of 128 has 43, 43 and 42). Non-Joint stays "
    "enlarged, because SR-FCN returns as many pixels as it takes. `rd` uses enlarged faces only.",
    "luminance": "`gray` is Y stretched so that black is 0 and white is 1.",
    "normalisation": "`face` is an MVN layer of the net. It normalises the face that valence is predicted from: the "
    "input, or SR-FCN's output with separate_regressor. SR-FCN itself learns from images as they are. `file` is the "
    "code's option; recordings are scored with the training file's mean and deviation.",
    "sr_images": "Without `--sr-images`, faces of the training recordings replace the natural images.",
    "sr_schedule": "`paper` keeps the code's iterations between tests and between snapshots.",
    "lr_on_plateau": f"The rate falls to a tenth after {PATIENCE} successive tests that are no better than the best, "
    f"at most {MOST} times. SR-FCN's rate is constant in the paper too.",
    "validation": f"`train` takes one of {VALIDATION} training recordings, rounded up and spread evenly over their "
    "names in natural order: train_3 and train_7 of AVEC's nine. test.h5 then has these in place of dev's, and neither "
    "the nets nor SR-FCN learn from them. It needs lr_on_plateau=on. `lq-emotion study train` tests on the recordings "
    "of `lq-emotion data h5 --train ... --dev ...`.",
    "separate_regressor": "The paper gives no size. The fully connected net has the hidden units that give it as many "
    "parameters as CNN+D, which §4.1 claims for all models: 33 on the paper's side (1,336,196 parameters, the others "
    "1,333,401), 299 with the code's other settings.",
    "mixture": f"`each_epoch` writes a file of {DRAWS} passes with new draws each, and then repeats it. With "
    "input_size=own nothing is drawn.",
    "smallest_face": "Frames without any face are dropped either way.",
    "loss": "`ccc` is 1 − CCC of a batch, for valence only. SR-FCN then learns with the mean of squares.",
}


def markdown() -> str:
    """Return docs/paper_vs_code.md."""
    switched = [entry for entry in DISAGREEMENTS if entry.switches]
    others = [entry for entry in DISAGREEMENTS if not entry.switches]
    lines = [
        _HEAD,
        "| switch | settings | affects |",
        "|---|---|---|",
        *(
            f"| [`{switch}`](#{_anchor(entry)}) | {_settings(switch)} | {_touches(switch)} |"
            for entry in switched
            for switch in entry.switches
        ),
        "",
        "## Disagreements with a switch",
        "",
        *(line for entry in switched for line in _section(entry)),
        "## Disagreements without a switch",
        "",
        *(line for entry in others for line in _section(entry)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _anchor(entry: Question) -> str:
    return entry.subject.lower().replace(" ", "-")


def _section(entry: Question) -> Iterator[str]:
    """Yield the lines about one disagreement."""
    lines = ", ".join(f"`{line}`" for line in entry.line.split(", "))
    yield f"### {entry.subject[0].upper()}{entry.subject[1:]}"
    yield ""
    if entry.where:
        yield f"- **Paper**: {entry.text} (§{entry.where})."
    yield f"- **Code**: {entry.code} ({lines})."
    yield f"- **Effect**: {entry.evidence}."
    for switch in entry.switches:
        if switch in _CHOSEN:
            yield f"- **Here**: {_CHOSEN[switch]}"
    if not entry.switches:
        yield f"- **No switch**: {entry.answer}."
    yield ""


def _settings(name: str) -> str:
    shown = []
    for value in choices()[name]:
        marks = ("**" if value == getattr(AS_CODE, name) else "") + ("*" if value == getattr(AS_PAPER, name) else "")
        shown.append(f"{marks}{format_setting(value)}{marks}")
    return ", ".join(shown)


def _touches(name: str) -> str:
    changed = dict.fromkeys(part for value in choices()[name] for part in parts(name, value))
    return ", ".join(part.removeprefix("train ") for part in changed)


if __name__ == "__main__":
    sys.stdout.write(markdown())
