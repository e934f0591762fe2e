"""The published ResNet-50s: VGGFace2's, plain and with SE, and He's for ImageNet."""

from __future__ import annotations

from functools import partial

import numpy as np

from caffe_compat.build.preprocess import Preprocessing
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.model import KnownModel, Part, Task
from lq_emotion.nets.resnet50 import imagenet_resnet50, vggface2_resnet50


def _vggface2(name: str, *, se: bool) -> KnownModel:
    mean = np.array([91.4953, 103.8827, 131.0912], np.float32)
    return KnownModel(
        name=name,
        title=f"{'SE-' if se else ''}ResNet-50 of VGGFace2: which of 8,631 people a face is, and features of faces",
        task=Task.FACE_RECOGNITION,
        parts=(
            Part(
                name,
                partial(vggface2_resnet50, se=se),
                Preprocessing("BGR", short_side=256, crop=(224, 224), mean=mean),
            ),
        ),
        crop=FaceCrop(margin=0.15),
        licence="CC BY-SA 4.0 (the data set); the models are published for research",
        source="Cao and others, arXiv 1710.08092: github.com/ox-vgg/vgg_face2",
        trained_on="VGGFace2: 3.3 million faces of 9,131 people; for some weights, MS-Celeb-1M before",
        limits=(
            "Says who a face resembles, nothing of its emotion. To fine-tune, or for features. The definition follows "
            "SENet's and the names of the published layers; the published prototxt was not at hand, and the forms that "
            "end in 128 or 256 features have another last layer and are not recognised."
        ),
    )


VGGFACE2_RESNET50 = _vggface2("vggface2-resnet50", se=False)
VGGFACE2_SENET50 = _vggface2("vggface2-senet50", se=True)

IMAGENET_RESNET50 = KnownModel(
    name="imagenet-resnet50",
    title="ResNet-50: which of 1,000 classes an image shows",
    task=Task.IMAGE_CLASSES,
    parts=(
        Part(
            "imagenet-resnet50",
            imagenet_resnet50,
            Preprocessing(
                "BGR", short_side=256, crop=(224, 224), mean=np.array([103.939, 116.779, 123.68], np.float32)
            ),
        ),
    ),
    licence="MIT",
    source="github.com/KaimingHe/deep-residual-networks (ResNet-50-model.caffemodel)",
    trained_on="ImageNet 2012: 1.28 million images of 1,000 classes",
    limits="Its published mean is an image, which its mean colour stands for here. Nothing about faces.",
    verified=True,
)
