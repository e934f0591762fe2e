"""The numbers of "Facial Expression Recognition for Cloud Robotics" (Maclean 2021), and the questions it leaves open.

Table 1 is of FER+'s test images; its columns neutral and sadness are probably exchanged: only then do recalls weighted
by the classes' frequencies give the accuracies next to them (`implied_accuracy`). Both readings are offered.

The tables (a) and (c) are of RAVDESS clips; (b), of the mode, is not in the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from lq_emotion.crops.versions import RATES, SIZES
from lq_emotion.studies.questions import Question

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


class Reading(StrEnum):
    """The reading of the columns of Table 1: as printed, or with neutral and sadness exchanged."""

    PRINTED = "printed"
    EXCHANGED = "exchanged"


class Aggregation(StrEnum):
    """How the estimates of a clip's frames become one."""

    MEAN = "mean"
    MODE = "mode"
    LSTM = "LSTM"


@dataclass(frozen=True)
class ImageScores:
    """A row of Table 1."""

    base: str
    """What the net had learnt before."""
    recall: tuple[float, ...]
    """Of each of `CLASSES`, as F1."""
    f1: tuple[float, ...]
    accuracy: float


_TABLE_1 = (
    ImageScores(
        "VGG Face",
        recall=(0.86, 0.33, 0.49, 0.95, 0.65, 0.85, 0.91),
        f1=(0.85, 0.45, 0.58, 0.94, 0.71, 0.86, 0.88),
        accuracy=0.86,
    ),
    ImageScores(
        "ImageNet",
        recall=(0.63, 0.0, 0.21, 0.89, 0.44, 0.81, 0.90),
        f1=(0.67, 0.0, 0.34, 0.88, 0.53, 0.80, 0.82),
        accuracy=0.78,
    ),
)
DISGUST_AS_ANGER = 0.47
"""The part of disgust that the net from VGG Face takes for anger (section 4.1), all that is said of Figure 2."""
# Accuracy by size and rate, as in SIZES and RATES; section 3.3 has 480 x 360 in place of the tables' 640 x 360.
_CLIPS = {
    Aggregation.MEAN: ((0.26, 0.31, 0.30), (0.33, 0.30, 0.28), (0.33, 0.29, 0.31)),
    Aggregation.LSTM: ((0.67, 0.81, 0.77), (0.77, 0.77, 0.75), (0.80, 0.81, 0.76)),
}


def table_1(reading: Reading = Reading.PRINTED) -> tuple[ImageScores, ...]:
    """Return the rows of Table 1."""
    if reading is Reading.PRINTED:
        return _TABLE_1
    return tuple(replace(row, recall=_exchanged(row.recall), f1=_exchanged(row.f1)) for row in _TABLE_1)


def _exchanged(values: tuple[float, ...]) -> tuple[float, ...]:
    by_class = dict(zip(CLASSES, values, strict=True))
    by_class["neutral"], by_class["sadness"] = by_class["sadness"], by_class["neutral"]
    return tuple(by_class.values())


def implied_accuracy(row: ImageScores, counts: Mapping[str, int]) -> float:
    """Return the accuracy that the recalls of a row of Table 1 amount to, from the test images of each class."""
    total = sum(counts[name] for name in CLASSES)
    return sum(counts[name] * recall for name, recall in zip(CLASSES, row.recall, strict=True)) / total


def clip_accuracy(aggregation: Aggregation, size: tuple[int, int], rate: int) -> float | None:
    """Return the published accuracy on RAVDESS at a size and a frame rate; None where the text has none."""
    if aggregation not in _CLIPS or size not in SIZES or rate not in RATES:
        return None
    return _CLIPS[aggregation][SIZES.index(size)][RATES.index(rate)]


OPEN_QUESTIONS = (
    Question(
        "columns of Table 1",
        "neutral has a recall of .65 and sadness of .85",
        "weighted by the classes of the test images, the recalls give .80 to .82 and .67 to .70 as printed under any "
        "rule of voting, but the printed accuracies .86 and .78 with the two columns exchanged",
        answer="both readings",
    ),
    Question(
        "majority of votes",
        "majority vote of ten taggers; without a majority, discarded",
        "more than 5 votes (2,720 test images) gives .861 and .779 with neutral and sadness exchanged",
        ("rule",),
    ),
    Question("classes of FER+", "seven; contempt is not mentioned", "", ("classes",)),
    Question(
        "split of FER+",
        "not given; “36,685” images, where the files have 35,887",
        "disgust's scores fit 5 or 7 of 15 images; the official test set has 7: probably the author's own split",
        ("split",),
    ),
    Question(
        "VGG Face",
        "“the VGG Face dataset [26], which consists of 9,131 images of different people's faces”; [26] is Parkhi et "
        "al., 2015",
        "9,131 is the number of people of VGGFace2 (2018), which has a ResNet-50; Parkhi et al. have 2,622 people and "
        "a VGG-16",
        answer="VGGFace2",
    ),
    Question("sizes of the dense layers", "not given; the LSTM has 1024 outputs", answer="of the preset"),
    Question(
        "rates, epochs, batch, input size, augmentation", "not given", answer="of the preset; mirroring and cropping"
    ),
    Question(
        "space and trials of the Bayesian search",
        "not given; a Gaussian process after Snoek (2012)",
        answer="the rates of both stages and the weight decay, or the preset's without a search",
    ),
    Question("clips of RAVDESS", "24 actors, 2 statements, 8 emotions: speech, song or both", "", ("channels",)),
    Question(
        "split of RAVDESS",
        "not given",
        "clips of an actor, or both files of a take, on two sides of a split would raise accuracies",
        ("folds", "fold"),
    ),
    Question(
        "30 frames of a clip",
        "30 frames; shorter clips repeat frames; which ones is not given",
        "(c) is worst at 720p and 30 fps: 30 successive frames are 1 s there, and 2 s at 15 fps",
        ("window",),
    ),
    Question(
        "short clips",
        "“if the video was shorter than 40 frames I repeat frames until we get 30”",
        "a clip of 30 to 39 frames needs no repetition",
        answer="clips shorter than 30 frames repeat theirs",
    ),
    Question(
        "classes of the clips",
        "“a 7-class video dataset” in section 1; “a 8-class problem” in the abstract, “the 8-class RAVDESS emotional "
        "video dataset” in section 4.2",
        "section 3.1 lists eight; the sentence of section 1 was not finished: “an accuracy of X on”",
        answer="eight",
    ),
    Question("margin of a face", "the box of a Haar cascade, cropped; no margin is given", "", ("grow",)),
    Question(
        "middle size", "640 x 360 in the tables, once 480 x 360 in section 3.3", answer="640 x 360, as in the tables"
    ),
    Question(
        "calm",
        "mean and mode take the classes of the net of images",
        "a net of FER+ has no calm: mean and mode reach at most .867 on speech",
        answer="calm clips count as errors of mean and mode",
    ),
    Question(
        "form of the LSTM",
        "1024 outputs and two dense layers",
        "over 2,048 features, 12,587,008 values with one bias, 12,591,104 with two",
        answer="Caffe's, with one bias",
    ),
    Question(
        "CNN of the CNN-LSTM",
        "“a LSTM network, appended to the output of the ResNet, to form a CNN-LSTM architecture”, trained by Adam; not "
        "whether the ResNet learns, too",
        answer="only the LSTM and its dense layers learn, from features computed once",
    ),
    Question(
        "best and lowest accuracy",
        "“81% accuracy on high resolution video, and maintain a minimum 67% accuracy across a range of resolutions”",
        "in table (c) the lowest, .67, is of 720p at 30 fps, the best quality; .81 is of 720p and of 144p, both at 15 "
        "fps",
        answer="all cells, compared with the paper's",
    ),
    Question("table (b)", "the accuracies of the mode are not printed", answer="measured here alone"),
    Question("bit rate and latency", "not given", answer="measured by `lq-emotion link`"),
)
