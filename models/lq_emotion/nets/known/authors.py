"""The authors' six nets (seeds of the study): CNN+D under its five trainings, and SR-FCN.

HR, LR, Non-Joint, Joint and Joint-OA are one definition, which their weights do not tell apart.
"""

from __future__ import annotations

import numpy as np

from caffe_compat.build.preprocess import Preprocessing
from lq_emotion.nets.blocks import SIZE
from lq_emotion.nets.cnn_d import cnn_d_deploy
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.model import KnownModel, Part, Task
from lq_emotion.nets.known.outputs import Dimension, Dimensions
from lq_emotion.nets.names import Method
from lq_emotion.nets.sr_fcn import sr_fcn_deploy

VALENCE = Dimension("valence", -1.0, 1.0, "AVEC 2016 gold standard")
"""The unit of AVEC's and RECOLA's annotations: from -1, unpleasant, to 1, pleasant."""

_LUMA = Preprocessing(
    "GRAY", resize=(SIZE, SIZE), raw_scale=219 / 255 / 255, mean=np.array([-16 / 255], np.float32), scale=1.0
)
"""Y of MATLAB's rgb2ycbcr, 16/255 to 235/255, of gray from 0 to 255."""

_FACES = {
    Method.HR: "full resolution",
    Method.LR: "one low resolution",
    Method.NON_JOINT: "one low resolution, on the frozen convolutions of SR-FCN",
    Method.JOINT: "one low resolution, from the convolutions of SR-FCN",
    Method.JOINT_OA: "all resolutions, from the convolutions of SR-FCN",
}
_SOURCE = (
    "the authors' Dropbox folder (github.com/bowenc0221/Robust-LQ-Emotion-Recognition, Pretrain Model), or your own "
    "training: lq-emotion table"
)
_LIMITS = (
    "Trained on few people (9 recordings, spoken French, video calls) in one setting. One frame at a time. The crop is "
    "resized with bilinear interpolation here; `lq-emotion prepare` resizes as MATLAB did, and its numbers are those "
    "to report. The images are transposed, as the authors' files hold them."
)


def _valence_net(method: Method) -> KnownModel:
    return KnownModel(
        name=method.value,
        title=f"CNN+D, {method.value}: valence of faces at {_FACES[method]}",
        task=Task.EMOTION,
        parts=(Part(method.value, cnn_d_deploy, _LUMA),),
        outputs=Dimensions((VALENCE,)),
        crop=FaceCrop(square=False, transposed=True),
        licence="Apache-2.0 (the authors' repository; the data set has terms of its own)",
        source=_SOURCE,
        trained_on="RECOLA, as AVEC 2016 distributed it",
        limits=_LIMITS,
        verified=True,
    )


VALENCE_NETS = tuple(map(_valence_net, Method))

SR_FCN = KnownModel(
    name="SR-FCN",
    title="SR-FCN: sharpens an image that was enlarged",
    task=Task.SUPER_RESOLUTION,
    parts=(Part("SR-FCN", sr_fcn_deploy, _LUMA),),
    licence="Apache-2.0 (the authors' repository)",
    source=_SOURCE,
    trained_on="91 images of natural scenes",
    limits="Takes luminance, enlarged by a factor with bicubic interpolation; its output is 16 pixels smaller.",
    verified=True,
)
