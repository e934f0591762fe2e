"""All known models."""

from __future__ import annotations

from caffe_compat.errors import DataError, did_you_mean
from lq_emotion.nets.known.authors import SR_FCN, VALENCE_NETS
from lq_emotion.nets.known.libfacedetection import LIBFACEDETECTION, LIBFACEDETECTION_V1
from lq_emotion.nets.known.mini_xception import MINI_XCEPTION
from lq_emotion.nets.known.model import KnownModel
from lq_emotion.nets.known.mtcnn import MTCNN
from lq_emotion.nets.known.resnets import IMAGENET_RESNET50, VGGFACE2_RESNET50, VGGFACE2_SENET50
from lq_emotion.nets.known.ultra_light import ULTRA_LIGHT_RFB, ULTRA_LIGHT_SLIM
from lq_emotion.nets.known.vgg import EMOTIW_VGG_S, VGG_FACE

KNOWN: tuple[KnownModel, ...] = (
    MINI_XCEPTION,
    EMOTIW_VGG_S,
    *VALENCE_NETS,
    SR_FCN,
    MTCNN,
    ULTRA_LIGHT_RFB,
    ULTRA_LIGHT_SLIM,
    LIBFACEDETECTION,
    LIBFACEDETECTION_V1,
    VGG_FACE,
    VGGFACE2_RESNET50,
    VGGFACE2_SENET50,
    IMAGENET_RESNET50,
)
"""In the order in which they are listed."""

DEFAULT_EMOTION = MINI_XCEPTION.name
DEFAULT_DETECTOR = MTCNN.name


def find_model(name: str) -> KnownModel:
    """Return a known model by its name, in capital or small letters.

    Raises
    ------
    DataError
        There is no model of this name; the nearest name is suggested.
    """
    for model in KNOWN:
        if model.name.lower() == name.lower():
            return model
    names = [model.name for model in KNOWN]
    hint = did_you_mean(name, names) or f"known are {', '.join(names)}"
    raise DataError("there is no model of this name", code="name-unknown", field="model", value=name, hint=hint)
