"""The nets that the study begins with: their top taken off, and two dense layers put on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.errors import NetError, WeightsError
from caffe_compat.layers import facts
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.head import LABEL, HeadedNet, features_input, with_head
from lq_emotion.nets.known.loading import find_description
from lq_emotion.studies.cloud_robotics.plan import CloudPlan


@dataclass(frozen=True)
class Base:
    """A net to fine-tune."""

    name: str
    """``vggface2``, ``imagenet``."""
    weights: Path
    blob: str
    """The last that is kept, whose values are the features."""
    net: HeadedNet
    """The whole net with its new head."""
    head: HeadedNet
    """The head alone, whose input is the features."""
    preprocessing: Preprocessing
    """Makes the input of the net from a crop."""

    @property
    def side(self) -> int:
        """Height and width that crops are resized to, before the centre is cut out."""
        prepared = self.preprocessing
        return prepared.short_side or (prepared.resize or prepared.crop or self._input)[0]

    @property
    def features(self) -> int:
        """Number of features of an image."""
        layer = next(layer for layer in self.head.deploy.layer if layer.type == "Input")
        return math.prod(layer.input_param.shape[0].dim[1:])

    @property
    def _input(self) -> tuple[int, int]:
        layer = next(layer for layer in self.net.deploy.layer if layer.type == "Input")
        height, width = layer.input_param.shape[0].dim[2:]
        return height, width

    def images(self, source: Path, batch: int, *, augmented: bool) -> pb.LayerParameter:
        """Return the data layer that feeds a list's images in order; `augmented`, mirrored and cropped at random."""
        prepared, crop = self.preprocessing, self.preprocessing.crop or (0, 0)
        layer = pb.LayerParameter(name="data", type="ImageData", top=[prepared.input, LABEL])
        images, transform = layer.image_data_param, layer.transform_param
        images.source, images.root_folder, images.batch_size = str(source), f"{source.parent}/", batch
        images.new_height = images.new_width = self.side
        images.is_color = prepared.channels != "GRAY"
        if prepared.mean is not None:
            means = prepared.mean.reshape(len(prepared.mean), -1).mean(axis=1) / prepared.raw_scale
            transform.mean_value.extend(means.astype(np.float32).tolist())
        if (scale := prepared.raw_scale * prepared.scale) != 1:
            transform.scale = scale
        if crop != (0, 0):
            transform.crop_size = crop[0]
        transform.mirror = augmented
        layer.phase = pb.TRAIN if augmented else pb.TEST  # of TEST is the crop in the middle
        return layer


def load_base(plan: CloudPlan, name: str) -> Base:
    """Return a base with a head for the plan's classes."""
    path, described = find_description(plan.weights[name], any_outputs=True)
    recipe = plan.recipe
    definition, blob = described.definition, last_features(described.definition)
    whole, alone = (
        with_head(below, blob=blob, hidden=recipe.hidden, classes=plan.choices.classes, dropout=recipe.dropout)
        for below in (definition, features_input(definition, blob))
    )
    crop = described.preprocessing.crop
    if crop is not None and crop[0] != crop[1]:
        raise WeightsError("images must be square", code="unsupported", file=path, field="crop", value=crop)
    return Base(name, path, blob, whole, alone, described.preprocessing)


def last_features(definition: pb.NetParameter) -> str:
    """Return the blob that the last layer with weights reads; its output if that is no InnerProduct."""
    layers = [layer for layer in definition.layer if facts(layer.type).weight_message]
    if not layers:
        raise NetError("no layer with weights", code="unsupported", field="definition")
    if layers[-1].type == "InnerProduct":
        return str(layers[-1].bottom[0])
    return str(definition.layer[-1].top[0])
