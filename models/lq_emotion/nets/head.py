"""A head of two dense layers on any blob of a net, with the layers below it frozen or trained, and its solvers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from caffe_compat.build.inference import inference_net
from caffe_compat.definition.prepare import prepare
from caffe_compat.errors import NetError, did_you_mean
from caffe_compat.graph.graph import build_graph
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import dropout as dropout_layer
from lq_emotion.nets.blocks import relu

LABEL, LOSS = "label", "loss"
ANSWER = "prob"


class HeadedNet(NamedTuple):
    """A net with a head."""

    deploy: pb.NetParameter
    """The definition to apply: an Input layer, the base, the head; of classes, their probabilities ``prob``."""
    head: tuple[str, ...]
    """Names of the head's layers with weights."""
    output: str
    """The blob that the loss compares with the labels."""


def base_of(net: pb.NetParameter, blob: str) -> pb.NetParameter:
    """Return the layers of a net that a blob needs, as a net to apply; refuse a blob that the net does not have."""
    message = inference_net(prepare(net).message)
    message.ClearField("state")
    blobs = dict.fromkeys(top for layer in message.layer for top in layer.top)
    if blob not in blobs:
        hint = did_you_mean(blob, blobs) or f"one of {', '.join(blobs)}"
        raise NetError("the net has no such blob", code="name-unknown", field="blob", value=blob, hint=hint)
    return _with_layers(message, _needed(message.layer, blob))


def features_input(net: pb.NetParameter, blob: str) -> pb.NetParameter:
    """Return a net that is an input only, of the shape of a blob: a base whose features were computed before."""
    shape = build_graph(prepare(base_of(net, blob))).shapes[blob]
    message = pb.NetParameter(name=net.name)
    layer = message.layer.add(name=blob, type="Input", top=[blob])
    layer.input_param.shape.add(dim=shape)
    return message


def with_head(net: pb.NetParameter, *, blob: str, hidden: int, classes: int, dropout: float | None = None) -> HeadedNet:
    """Take the top off a net and put two dense layers on.

    `blob` is the last one that is kept, such as ``pool5``; layers that it does not need are dropped. The first dense
    layer, ``dense``, has `hidden` outputs and a ReLU, and training drops the share `dropout` of them; the second,
    ``scores``, has one for each class.
    """
    base = base_of(net, blob)
    return HeadedNet(
        _with_layers(base, [*base.layer, *dense_layers(blob, hidden, classes, dropout), answer()]),
        head=("dense", "scores"),
        output="scores",
    )


def dense_layers(bottom: str, hidden: int, classes: int, dropout: float | None = None) -> Iterator[pb.LayerParameter]:
    """Yield the layers of a head, to ``scores``; see `with_head`."""
    yield _dense("dense", bottom, hidden)
    yield relu("relu_d", "dense")
    if dropout is not None:
        yield dropout_layer("drop_d", "dense", dropout)
    yield _dense("scores", "dense", classes)


def answer(scores: str = "scores") -> pb.LayerParameter:
    """Return the layer that makes probabilities of scores."""
    return pb.LayerParameter(name=ANSWER, type="Softmax", bottom=[scores], top=[ANSWER])


def losses(kind: str, output: str, label: str, *, accuracy: bool) -> Iterator[pb.LayerParameter]:
    """Yield the loss of an output and, for tests, the accuracy."""
    yield pb.LayerParameter(name=LOSS, type=kind, bottom=[output, label], top=[LOSS])
    if accuracy:
        layer = pb.LayerParameter(name="accuracy", type="Accuracy", bottom=[output, label], top=["accuracy"])
        layer.include.add(phase=pb.TEST)
        yield layer


def headed_training_net(
    net: HeadedNet,
    data: Sequence[pb.LayerParameter],
    *,
    frozen: bool,
    loss: str = "SoftmaxWithLoss",
    stored_statistics: bool = True,
    accuracy: bool = False,
) -> pb.NetParameter:
    """Return the definition to train a net with a head, whose layers keep their rates; those without have Caffe's, 1.

    `data` are the data layers in place of the input; their tops are the input's blob and the labels. `frozen` trains
    the head alone: the rates of the base are 0, and BatchNorm has its stored statistics. Otherwise, with
    `stored_statistics` it keeps them, too; without, it takes each batch's and updates them, which only large batches
    are good for. `accuracy` tests the accuracy as well.
    """
    message = pb.NetParameter(name=net.deploy.name)
    message.layer.extend(data)
    message.layer.extend(layer for layer in _needed(net.deploy.layer, net.output) if layer.type != "Input")
    _store_statistics(message.layer, stored=frozen or stored_statistics)
    if frozen:
        _freeze(message.layer, net)
    message.layer.extend(losses(loss, net.output, data[0].top[1], accuracy=accuracy))
    return message


def sgd(*, iter_size: int = 1, weight_decay: float = 0.0005, **fields: Any) -> pb.SolverParameter:
    """Return a solver with momentum 0.9; `iter_size` batches make one iteration. The fields are as in `adam`."""
    message = _solver(**fields)
    message.momentum, message.weight_decay = 0.9, weight_decay
    if iter_size > 1:
        message.iter_size = iter_size
    message.snapshot_format = pb.SolverParameter.BINARYPROTO
    return message


def adam(**fields: Any) -> pb.SolverParameter:
    """Return Adam with its authors' constants (arXiv 1412.6980), without decay.

    The fields are those of SolverParameter; without a `test_interval` there are no tests, of `test_iter` batches each.
    """
    message = _solver(**fields)
    message.type, message.momentum, message.momentum2, message.delta = "Adam", 0.9, 0.999, 1e-8
    message.snapshot_format = pb.SolverParameter.HDF5
    return message


def _solver(*, display: int = 20, test_iter: int = 0, test_interval: int = 0, **fields: Any) -> pb.SolverParameter:
    message = pb.SolverParameter(lr_policy="fixed", solver_mode=pb.SolverParameter.CPU, display=display, **fields)
    if test_interval:
        message.test_iter.append(test_iter)
        message.test_interval = test_interval
    return message


def _needed(layers: Sequence[pb.LayerParameter], blob: str) -> list[pb.LayerParameter]:
    needed, chosen = {blob}, []
    for layer in reversed(layers):
        if needed & set(layer.top):
            needed |= set(layer.bottom)
            chosen.append(layer)
    return chosen[::-1]


def _with_layers(net: pb.NetParameter, layers: Iterable[pb.LayerParameter]) -> pb.NetParameter:
    message = pb.NetParameter(name=net.name)
    message.layer.extend(layers)
    return message


def _dense(name: str, bottom: str, outputs: int) -> pb.LayerParameter:
    layer = pb.LayerParameter(name=name, type="InnerProduct", bottom=[bottom], top=[name])
    layer.inner_product_param.num_output = outputs
    layer.inner_product_param.weight_filler.type = "xavier"
    return layer


def _store_statistics(layers: Iterable[pb.LayerParameter], *, stored: bool) -> None:
    for layer in layers:
        if layer.type == "BatchNorm" and stored:
            layer.batch_norm_param.use_global_stats = True
        elif layer.type == "BatchNorm":
            layer.batch_norm_param.ClearField("use_global_stats")  # the phase decides


def _freeze(layers: Collection[pb.LayerParameter], net: HeadedNet) -> None:
    """Set the rate of every blob of the base to 0; a blob without a rate does not decay either."""
    counts = {slot.layer: slot.index + 1 for slot in build_graph(prepare(net.deploy)).slots}
    for layer in layers:
        if layer.name in net.head:
            continue
        while len(layer.param) < counts.get(layer.name, 0):
            layer.param.add()
        for param in layer.param:
            param.lr_mult = 0
