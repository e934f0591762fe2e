"""The net of Non-Joint-s, from super-resolution weights that stay as they are.

In the code it is CNN+D with its convolutions frozen; in the paper a fully connected regressor on super-resolved faces.
"""

from __future__ import annotations

from collections.abc import Iterator

from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import SIZE, declare_inputs, euclidean_loss, face_normalisation, hdf5_data, silence
from lq_emotion.nets.cnn_d import BATCH, HIDDEN, SOURCES, cnn_d, cnn_d_deploy, features, head
from lq_emotion.nets.names import Net
from lq_emotion.nets.sr_fcn import body, output_size
from lq_emotion.nets.switches import AS_CODE, PaperSwitches

_NAME = "emotion_non_joint"
_CONV4 = 256 * 5 * 5 + 1  # parameters of SR-FCN's last layer, which CNN+D does not have


def non_joint(*, switches: PaperSwitches = AS_CODE) -> pb.NetParameter:
    """Return the net of Non-Joint-s to train from SR-FCN's weights.

    In the code it is CNN+D with its convolutions frozen. With `switches.separate_regressor` it is what the paper says:
    SR-FCN, frozen and whole; its output goes into fc4 and fc5, with `hidden_units` between them.
    """
    if not switches.separate_regressor:
        return cnn_d(Net.NON_JOINT, switches=switches)
    net = pb.NetParameter(name=_NAME)
    net.layer.extend(hdf5_data(path, BATCH, phase) for path, phase in zip(SOURCES, (pb.TRAIN, pb.TEST), strict=True))
    net.layer.extend(_layers(switches))
    if switches.loss != "ccc":
        net.layer.append(euclidean_loss("fc5", weight=2 if switches.loss == "mse" else None))
    return net


def hidden_units(switches: PaperSwitches) -> int:
    """Return the hidden units of the separate regressor: as many as bring the net nearest to CNN+D's parameters.

    The text gives no number, but says that all models have "the same amount of parameters" (4.1). It is 33 as the paper
    has it: 1,336,196 parameters where CNN+D has 1,333,401; and 299 with the code's other settings, one parameter less
    than CNN+D's 2,946,649.
    """
    image = output_size(SIZE, switches=switches) ** 2
    return round((HIDDEN * (features(switches) + 2) - _CONV4) / (image + 2))  # + 2: fc4's bias and fc5's weight


def non_joint_deploy(*, switches: PaperSwitches = AS_CODE) -> pb.NetParameter:
    """Return the net of Non-Joint-s to predict with: data (1, 1, 96, 96) in, fc5 (1, 1) out."""
    if not switches.separate_regressor:
        return cnn_d_deploy(switches=switches)
    net = pb.NetParameter(name=_NAME)
    declare_inputs(net, ("data", (1, 1, SIZE, SIZE)), ("label", (1, 1, 1, 1)))
    net.layer.append(silence("label"))
    net.layer.extend(_layers(switches))
    net.layer.append(euclidean_loss("fc5", train_only=True))
    return net


def _layers(switches: PaperSwitches) -> Iterator[pb.LayerParameter]:
    yield from body(switches, frozen=True)
    if switches.normalisation == "face":
        yield face_normalisation("conv4")
    bottom = "normalised" if switches.normalisation == "face" else "conv4"
    yield from head(bottom, hidden_units(switches), switches=switches)
