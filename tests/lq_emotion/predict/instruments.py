"""Small nets and a detector of bright squares, and clips with such squares."""

import numpy as np
import torch

from caffe_compat import load_net
from caffe_compat.build.preprocess import Preprocessing
from caffe_compat.build.weights import save_weights
from caffe_compat.formats.files import parse_text
from caffe_compat.schema.caffe_pb2 import NetParameter
from lq_emotion.faces.face import Face
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.installation import write_sidecars
from lq_emotion.nets.known.loading import LoadedModel
from lq_emotion.nets.known.outputs import Dimension, Dimensions, Labels
from lq_emotion.predict.analysis import Estimator
from lq_emotion.predict.instruments import Instruments
from lq_emotion.quality import Trust

NET = """
input: "data" input_dim: 1 input_dim: 1 input_dim: 8 input_dim: 8
layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param {{ num_output: {outputs} }} }}
{softmax}
"""
SOFTMAX = 'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }'
CLASSES = Labels(("happy", "sad", "neutral"))
DIMENSIONS = Dimensions((Dimension("valence", -1, 1, "test"),))
SIDE = 16


def definition_of(outputs):
    """Return the definition of a net with these outputs."""
    softmax = SOFTMAX if isinstance(outputs, Labels) else ""
    return parse_text(NET.format(outputs=len(outputs.names), softmax=softmax), NetParameter)


def made_model(folder, outputs, *, name="net", weight=0.0, bias=0.0):
    """Write a net that adds `bias` to `weight` times the mean of the crop (0 to 1), of each output or of all; load it."""
    net = load_net(definition_of(outputs), seed=0)
    net.state_dict()["fc.weight"].copy_(torch.tensor(weight).reshape(-1, 1) / 64)
    net.state_dict()["fc.bias"].copy_(torch.tensor(bias))
    weights = folder / f"{name}.caffemodel"
    save_weights(net, weights)
    preprocessing = Preprocessing(channels="GRAY", resize=(8, 8), raw_scale=1 / 255)
    return LoadedModel(
        name=name, net=net, definition=definition_of(outputs), preprocessing=preprocessing, outputs=outputs,
        crop=FaceCrop(), weights=weights, limits="none: it is made up",
    )  # fmt: skip


def described(model):
    """Write the files that describe a model's weights next to them, as a user's own net has them; return the weights."""
    write_sidecars(model.weights, definition_of(model.outputs), model.preprocessing, model.outputs, None)
    return model.weights


def estimator(folder, outputs, *, calibration=None, **made):
    return Estimator(made_model(folder, outputs, **made), calibration)


class SizeCalibration:
    """Trusts faces of more than 12 pixels."""

    level = 0.9

    def __init__(self, outputs):
        self.outputs = outputs

    def judge(self, estimates, conditions):
        rows = np.asarray(estimates, np.float64)[:, : len(self.outputs)]
        return [
            Trust(tuple(row - 0.25), tuple(row + 0.25), c.size > 12, "" if c.size > 12 else f"face is {c.size:g} px")
            for row, c in zip(rows, conditions, strict=True)
        ]


def bright_squares(images):
    """Find the squares of `frames_with_squares`."""
    found = []
    for image in images:
        bright = image[..., 0] > 200
        rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
        runs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1) if len(columns) else []
        found.append(
            [
                Face(float(run[0]), float(rows[0]), float(len(run)), float(len(rows)), 0.5, ((1.0, 2.0),) * 5)
                for run in runs
            ]
        )
    return found


def frames_with_squares(count, *, squares=1, empty=(), height=48, width=96):
    """Frames with bright squares that move to the right, pixel by pixel."""
    frames = [np.full((height, width, 3), 40, np.uint8) for _ in range(count)]
    for number, frame in enumerate(frames):
        for place in range(squares if number not in empty else 0):
            left = 2 + place * (SIDE + 8) + number % 8
            frame[8 : 8 + SIDE, left : left + SIDE] = 250
    return frames


def instruments(*estimators, detector=bright_squares):
    """Return the instruments of nets, with a detector of bright squares."""
    return Instruments(tuple(estimators), detector)
