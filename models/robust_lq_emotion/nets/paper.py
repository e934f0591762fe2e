"""What the paper describes and the code does not have: a fully connected regressor on super-resolved faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caffe_compat.models.robust_lq_emotion.nets.blocks import (
    SIZE,
    declare_inputs,
    euclidean_loss,
    face_normalisation,
    hdf5_data,
    silence,
)
from caffe_compat.models.robust_lq_emotion.nets.cnn_d import SOURCES, cnn_d, cnn_d_deploy, head
from caffe_compat.models.robust_lq_emotion.nets.sr_fcn import body
from caffe_compat.models.robust_lq_emotion.nets.switches import AS_CODE, PaperSwitches
from caffe_compat.proto import caffe_pb2 as pb

_NAME = "emotion_non_joint"


def non_joint(
    *, switches: PaperSwitches = AS_CODE, sources: Sequence[str] = SOURCES, batch: int = 128
) -> pb.NetParameter:
    """Return the net of Non-Joint-s to train from SR-FCN's weights.

    In the code it is CNN+D with its convolutions frozen. With `switches.separate_regressor` it is what the paper says:
    SR-FCN, frozen, whole; its picture goes into fc4 and fc5. The text gives no size for these: they are CNN+D's. On the
    code's 80 x 80 picture fc4 then has 6,400 inputs, as many as CNN+D's, and the net has 6,401 parameters more than
    CNN+D, conv4's.
    """
    if not switches.separate_regressor:
        return cnn_d("non_joint", switches=switches, sources=sources, batch=batch)
    net = pb.NetParameter(name=_NAME)
    net.layer.extend(hdf5_data(path, batch, phase) for path, phase in zip(sources, (pb.TRAIN, pb.TEST), strict=True))
    net.layer.extend(_layers(switches))
    if switches.loss != "ccc":
        net.layer.append(euclidean_loss("fc5", weight=2 if switches.loss == "mse" else None))
    return net


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
    yield from head("normalised" if switches.normalisation == "face" else "conv4", switches=switches)
