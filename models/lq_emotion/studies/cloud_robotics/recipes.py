"""Sizes of the nets and lengths of the trainings of the second paper, and of smaller runs of its study.

The text gives two dense layers on ResNet-50 without its top, SGD in two stages, an LSTM of 1024 with two dense layers
and Adam, windows of 30 frames, three sizes and three rates. It gives no rate, no batch, no number of iterations and no
size of a dense layer; those of "paper" are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from lq_emotion.common.records import Record
from lq_emotion.crops.versions import RATES, SIZES


@dataclass(frozen=True, kw_only=True)
class Preset(Record):
    """How long to train what.

    Attributes
    ----------
    hidden : outputs of the head's first dense layer.
    dropout : share of them that training drops; None for no such layer.
    batch, iter_size : images of a pass; passes of an iteration of stage 2. Stage 1 takes as many images in one pass.
    stage1_lr, stage2_lr : rates.
    stage1_iterations, stage2_iterations : of stage 1, the head on the frozen base, and of stage 2, everything.
    weight_decay : weight decay of both stages.
    memory : outputs of the LSTM.
    sequence_hidden : outputs of the first of its dense layers.
    sequence_batch : windows of an iteration.
    sequence_lr, sequence_iterations : rate of Adam, and iterations.
    sizes : width and height of a frame, of the versions of a clip.
    rates : frames per second of these versions; each size has each rate.
    """

    hidden: int
    dropout: float | None
    batch: int
    iter_size: int
    stage1_lr: float
    stage2_lr: float
    stage1_iterations: int
    stage2_iterations: int
    weight_decay: float
    memory: int
    sequence_hidden: int
    sequence_batch: int
    sequence_lr: float
    sequence_iterations: int
    sizes: tuple[tuple[int, int], ...]
    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not value > 0 and (field.name, value) != ("weight_decay", 0):
                raise ValueError(f"{field.name} is {value}, expected more than 0")
        if not (self.sizes and self.rates):
            raise ValueError("there is no size or no rate")


_PAPER = Preset(
    hidden=512,
    dropout=0.5,
    batch=32,
    iter_size=2,
    stage1_lr=0.01,
    stage2_lr=0.001,
    stage1_iterations=3400,  # 10 epochs of 21,733 images, the training images with more than 5 votes
    stage2_iterations=3400,
    weight_decay=0.0005,
    memory=1024,  # the text's
    sequence_hidden=512,
    sequence_batch=32,
    sequence_lr=0.0001,
    sequence_iterations=1500,  # about 50 epochs of 960 clips, those of 16 of 24 actors
    sizes=SIZES,
    rates=RATES,
)
_SMALL = replace(
    _PAPER,
    hidden=64,
    dropout=None,
    batch=64,
    iter_size=1,
    stage2_lr=0.01,
    stage1_iterations=600,
    stage2_iterations=1500,
    memory=128,
    sequence_hidden=64,
    sequence_lr=0.002,
    sequence_iterations=600,
    sizes=((320, 180), (160, 90), (64, 36)),  # faces of 100, 50 and 20 pixels
)
PRESETS = {
    "paper": _PAPER,
    "small": _SMALL,
    "demo": replace(_SMALL, batch=32, stage1_iterations=300, stage2_iterations=500, sequence_iterations=120),
}
"""By name. "small" and "demo" are for small nets and small videos: two cores for an hour, or for three minutes."""
