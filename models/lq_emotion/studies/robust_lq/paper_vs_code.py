"""Disagreements of the paper (arXiv 1709.03126) and the authors' code: one list for docs, report and switches.

``python -m lq_emotion.studies.robust_lq.paper_vs_code > docs/paper_vs_code.md`` writes the page. Lines are those of
github.com/bowenc0221/Robust-LQ-Emotion-Recognition at dde3c1c.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from lq_emotion.nets.definitions import parts
from lq_emotion.nets.switches import AS_CODE, AS_PAPER, choices, format_setting
from lq_emotion.studies.questions import Question
from lq_emotion.studies.robust_lq.plan import VALIDATION
from lq_emotion.studies.robust_lq.work import DRAWS
from lq_emotion.training.plateau import MOST, PATIENCE

_NET = "experiments/network/model_1F_CNN+D.prototxt"
_H5 = "matlabscripts/generate_h5/generate_h5.m"
_H5_FILES = "matlabscripts/generate_h5/prepare_h5_files.m"
_DATASET = "matlabscripts/prepare_dataset.m"
_JOINT_NET = "experiments/network/model_1F_CNN+D_vlqr.prototxt"
_SR_NET = "pretrain/Pretrain_net.prototxt"
_SR_SOLVER = "pretrain/Pretrain_solver.prototxt"

DISAGREEMENTS = (
    Question(
        "input of the nets",
        "“fed with LR video frames”",
        evidence="the input always has 96 × 96 pixels; interpolation overshoots and is not clipped",
        switches=("input_size",),
        where="3.2",
        code="crops shrunk by s and enlarged to 96 × 96 again, both with bicubic interpolation",
        line=f"{_DATASET}:81, {_H5}:38",
    ),
    Question(
        "gray",
        "“convert color frames to gray-scale”",
        evidence="values are between 16/255 and 235/255",
        switches=("luminance",),
        where="4",
        code="Y of BT.601 over 255",
        line=f"{_DATASET}:57-59",
    ),
    Question(
        "third pooling",
        "“quadrant pooling”: 2 × 2 in the nets the paper follows",
        evidence="2,946,649 parameters, not 1,333,849",
        switches=("quadrant_pooling",),
        where="3.2",
        code="4 × 4 windows, sizes rounded up: 5 × 5",
        line=f"{_NET}:151-152",
    ),
    Question(
        "convolutions",
        "“mostly inherits the CNN+D structure” of Khorrami et al., whose convolutions are padded and have no biases",
        evidence="the maps have 92, 46, 42, 21 and 17 pixels; SR-FCN turns 96 × 96 into 80 × 80",
        switches=("convolutions",),
        where="3.2",
        code="not padded, with biases",
        line=f"{_NET}:33-42",
    ),
    Question(
        "normalisation",
        "“mean subtraction and contrast normalization prior to passing each face image through the CNN”",
        evidence="published weights expect plain Y",
        switches=("normalisation",),
        where="4",
        code="both switched off; if switched on, one mean and one deviation for all values of a file",
        line=f"{_H5_FILES}:22-23, {_H5}:51-57",
    ),
    Question(
        "images for SR-FCN",
        "“to reconstruct the HR frames from LR inputs”",
        evidence="SR-FCN never learns from a face",
        switches=("sr_images",),
        where="3.2",
        code="91 natural images, tested on Set5",
        line="pretrain/generate_train.m:3, pretrain/generate_test.m:3",
    ),
    Question(
        "largest factor of Joint-OA",
        "“the maximum downsampling factor”, in a range that ends at 16",
        evidence="Joint-OA starts from SR-FCN at 12",
        switches=("max_factor",),
        where="3.3, 4",
        code="12, in scripts and file names",
        line="pretrain/generate_train.m:7",
    ),
    Question(
        "solver of SR-FCN",
        "“30,000 iterations”, rate “0.01”, decay 0.0005 as for all nets",
        evidence="the paper's values are those of the other nets; with the sum of squares as loss they diverge",
        switches=("sr_schedule",),
        where="4",
        code="500,000 iterations, rate 0.0001, no decay, lower rates for conv4 and biases",
        line=f"{_SR_SOLVER}:4-9, pretrain/Pretrain_net.prototxt:31-136",
    ),
    Question(
        "learning rate",
        "“divided by 10 when ... the validation set performance stops to improve”",
        evidence="no schedule",
        switches=("lr_on_plateau",),
        where="4",
        code="fixed in every solver",
        line="experiments/solver/solver_1F_CNN+D.prototxt:6",
    ),
    Question(
        "validation set",
        "“divided by 10 when we observe that the validation set performance stops to improve”, and “the AVEC "
        "development set of 9 sequences as our testing set”; no other validation set is named",
        evidence=(
            "with lr_on_plateau and validation=dev the recordings that are scored decide when the rate falls: a look "
            "at the test set, which may flatter the scores"
        ),
        switches=("validation",),
        where="4",
        code="the nets are tested on the development recordings while they learn, and nothing depends on it",
        line=f"{_H5_FILES}:13-15",
    ),
    Question(
        "biases",
        "one rate per layer: “0.001 ... for the first three”, “0.01”",
        evidence="a small difference in training",
        switches=("bias_rate",),
        where="4",
        code="twice the rate of the weights",
        line=f"{_NET}:36, experiments/network/model_1F_CNN+D_vlqr.prototxt:36",
    ),
    Question(
        "Non-Joint",
        "“a separate fully-connected neural network ... from up-scaled HR images”",
        evidence="no frame is ever super-resolved",
        switches=("separate_regressor",),
        where="4.1",
        code="CNN+D with SR-FCN's first three convolutions, frozen",
        line="experiments/network/model_1F_CNN+D_vlqr_non_joint.prototxt:33-36",
    ),
    Question(
        "mixture of Joint-OA",
        "“a mixture of LR frames ... generated from HR frames”, without how often a factor is chosen",
        evidence="a frame has the same factor in every epoch",
        switches=("mixture",),
        where="3.3",
        code="one draw per frame when the file is written, for test data too",
        line=f"{_H5}:35-40",
    ),
    Question(
        "frames used",
        "“all AVEC video data”",
        evidence="scores cover fewer frames",
        switches=("smallest_face",),
        where="4",
        code="no frame without a face, or with a box of 100 pixels or fewer in width or height",
        line=f"{_DATASET}:56",
    ),
    Question(
        "loss",
        "“mean squared error (MSE)”; a CC or CCC loss as “a noteworthy option”",
        evidence=(
            "half the paper's value for valence, 128 times it for patches of 16 × 16: the same "
            "rate means something else"
        ),
        switches=("loss",),
        where="3.2, 5",
        code="Caffe's Euclidean loss: the sum of squares over 2 N",
        line=f"{_NET}:220, pretrain/Pretrain_net.prototxt:156",
    ),
    Question(
        "first layers of SR-FCN",
        "“Its first three layers are configured the same as the first three layers of the target CNN”; of the CNN, “"
        "The first two layers are followed by 2 × 2 max pooling while the third layer is followed by quadrant pooling”",
        evidence=(
            "conv2 and conv3 learn on maps of full resolution, and begin in the CNN on maps 2 and 4 times coarser: "
            "their receptive fields are 14 and 32 pixels instead of 9 and 13"
        ),
        answer=(
            "with pooling, SR-FCN's output would be smaller than the face; the paper does not state how it would grow "
            "again"
        ),
        where="3.2",
        code="the same convolutions, but no pooling between them in SR-FCN",
        line=f"{_SR_NET}:26-121, {_JOINT_NET}:60-70, {_JOINT_NET}:106-116",
    ),
    Question(
        "super-resolved image",
        "the joint module “simultaneously enhances the spatial resolution and predicts the per-frame valence value”",
        evidence="no image comes out of the joint net: super-resolution is where its training starts",
        answer="section 3.2 exports the first three layers only; SR-FCN itself gives images (`lq-emotion study sr`)",
        where="3.1",
        code="the joint net has SR-FCN's first three convolutions but not conv4, which makes the image",
        line=f"{_JOINT_NET}:27-234",
    ),
    Question(
        "last samples of a file",
        "",
        evidence="tests during training see fewer frames than evaluation",
        answer="`lq-emotion data h5 --keep-remainder` keeps them",
        code="the last N mod 128 samples of a file are lost",
        line=f"{_H5}:65",
    ),
    Question(
        "augmentation",
        "",
        evidence="it is switched off",
        answer="`lq-emotion data h5 --augment` does the same as the script",
        code="an option that replaces frames by mirrored ones",
        line=f"{_H5}:47-49",
    ),
    Question(
        "axes",
        "",
        evidence="weights expect transposed faces",
        answer="weights trained with one order are useless with the other",
        code="MATLAB's column order: frames are transposed, in training and in evaluation",
        line="matlabscripts/generate_h5/store2hdf5.m:2",
    ),
    Question(
        "CC and CCC",
        "as in AVEC 2016",
        evidence="smaller by a factor of at most (N − 1)/N, which is negligible here",
        answer="scores.json has all three",
        where="4",
        code="covariance over N, variances over N − 1",
        line="matlabscripts/evaluation/run_eval.m:59-62",
    ),
    Question(
        "patches for SR-FCN",
        "",
        evidence="the net learns nothing about the borders of faces",
        answer="the paper gives no size",
        code="patches of 32 × 32 every 14 pixels; the label is the central 16 × 16",
        line="pretrain/generate_train.m:5-8",
    ),
    Question(
        "batches of SR-FCN's test",
        "",
        evidence="1,112 of the 1,218 patches that the script makes from Set5 are tested",
        answer="nothing is learned from it; `--test-iter` changes it",
        code="556 batches of 2",
        line=f"{_SR_SOLVER}:2",
    ),
    Question(
        "parameters",
        "“all models to have the same amount of parameters”",
        evidence=("with separate_regressor, Non-Joint differs from the other rows by at most 0.2 %"),
        answer="the nets fulfil the paper's claim (tested)",
        where="4.1",
        code="the same net for all rows; Non-Joint learns 1,920,601 of its 2,946,649",
        line="experiments/network/model_1F_CNN+D_vlqr_non_joint.prototxt:33-206",
    ),
)

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
