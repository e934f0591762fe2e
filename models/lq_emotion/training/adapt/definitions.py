"""The definitions of an adaptation: the net with a head for other labels, to apply and to train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from caffe_compat.build.inference import inference_net
from caffe_compat.definition.prepare import prepare
from caffe_compat.errors import NetError
from caffe_compat.graph.graph import build_graph
from caffe_compat.layers import Coordinates, facts
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import hdf5_data
from lq_emotion.nets.head import LABEL, HeadedNet, answer, headed_training_net


def with_last_layer(definition: pb.NetParameter, outputs: int, *, classes: bool, new: bool) -> HeadedNet:
    """Return a model's net with a last layer for other labels, or with its own, as its head.

    There are `outputs` classes, behind a Softmax, or dimensions. `new` replaces the last layer with weights and drops
    what follows it but pooling and reshaping. A net without a layer that could be its head, or whose layers branch
    after it, is refused.
    """
    net = inference_net(prepare(definition).message)
    net.ClearField("state")
    layers = list(net.layer)
    place = next((i for i in reversed(range(len(layers))) if facts(layers[i].type).weight_message), None)
    if place is None:
        raise NetError("no layer with weights", code="unsupported", field="definition")
    head, tail = layers[place], layers[place + 1 :]
    _require_chain(head, tail)
    if new:
        head, tail = _new_head(head, outputs), [layer for layer in tail if _keeps_meaning(layer)]
    elif tail and tail[-1].type == "Softmax":
        tail = tail[:-1]
    output = head.top[0]
    for layer in tail:
        in_place = layer.top[0] == layer.bottom[0]
        layer.bottom[:] = [output]
        output = layer.top[0] = output if in_place else layer.top[0]
    deploy = pb.NetParameter()
    deploy.CopyFrom(net)
    del deploy.layer[:]
    deploy.layer.extend([*layers[:place], head, *tail])
    if classes:
        deploy.layer.append(answer(output))
    return HeadedNet(deploy, (head.name,), output)


def _keeps_meaning(layer: pb.LayerParameter) -> bool:
    """Tell whether a layer may follow a new head: its tops mean what its bottoms do."""
    it = facts(layer.type)
    return it.keeps_values or it.identity_in_test or layer.type == "Pooling"


def _require_chain(head: pb.LayerParameter, tail: Sequence[pb.LayerParameter]) -> None:
    blob = head.top[0]
    for layer in tail:
        if list(layer.bottom) != [blob] or len(layer.top) != 1:
            problem = f"does not follow {head.name} alone: the net branches after its last layer with weights"
            raise NetError(problem, code="unsupported", layer=layer.name, hint="cut the net after one branch")
        blob = layer.top[0]


def _new_head(layer: pb.LayerParameter, outputs: int) -> pb.LayerParameter:
    it = facts(layer.type)
    has_bias = hasattr(getattr(layer, it.weight_message), "bias_term")  # recurrent layers have one in each gate
    enlarges = it.coordinates is Coordinates.TRANSPOSED_WINDOW
    if not has_bias or enlarges or it.whole_number_bottoms(len(layer.bottom)):
        problem, hint = f"a {layer.type} layer cannot be replaced", "the last layer must be InnerProduct or Convolution"
        raise NetError(problem, code="unsupported", layer=layer.name, hint=hint)
    head = pb.LayerParameter()
    head.CopyFrom(layer)
    head.name = f"{layer.name}_adapted"  # Caffe copies weights by name: these are not the model's
    head.top[:] = [head.name]
    size = getattr(head, it.weight_message)
    size.num_output, size.bias_term = outputs, True
    size.weight_filler.CopyFrom(pb.FillerParameter(type="xavier"))
    size.ClearField("bias_filler")
    for field in ("group", "transpose"):
        if field in size.DESCRIPTOR.fields_by_name:
            size.ClearField(field)
    del head.param[:]
    return head


def stage_net(
    net: HeadedNet, lists: Mapping[str, Path], batches: Mapping[str, int], *, classes: bool, frozen: bool
) -> pb.NetParameter:
    """Return the definition of a stage, on the files of HDF5 data and with the batches of ``train`` and ``dev``.

    Classes are learnt by SoftmaxWithLoss, dimensions by EuclideanLoss; `frozen` trains the head alone. Batches are of a
    few persons: BatchNorm keeps the statistics of the model's own training, in both stages.
    """
    tops = [next(layer.top[0] for layer in net.deploy.layer if layer.type == "Input"), LABEL]
    data = [
        hdf5_data(str(lists[part]), batches[part], phase, tops=tops, shuffle=phase == pb.TRAIN)
        for part, phase in (("train", pb.TRAIN), ("dev", pb.TEST))
    ]
    learned = HeadedNet(_weights_decay(net.deploy), net.head, net.output)
    return headed_training_net(learned, data, frozen=frozen, loss="SoftmaxWithLoss" if classes else "EuclideanLoss")


def _weights_decay(net: pb.NetParameter) -> pb.NetParameter:
    """Return a net whose blobs all learn; weights decay, biases do not. Shared blobs keep their names."""
    message = pb.NetParameter()
    message.CopyFrom(net)
    layers = {layer.name: layer for layer in message.layer}
    names = {layer.name: [param.name for param in layer.param] for layer in message.layer}
    for layer in message.layer:
        del layer.param[:]
    for slot in build_graph(prepare(net)).slots:
        trained = not slot.blob.buffer
        param = layers[slot.layer].param.add(lr_mult=float(trained), decay_mult=float(trained and slot.index == 0))
        if name := "".join(names[slot.layer][slot.index : slot.index + 1]):
            param.name = name
    return message
