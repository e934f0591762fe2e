"""Recognise the network of a file of weights by layer names and the shapes of blobs.

HR, LR, Joint and Non-Joint are one network, CNN+D; they differ in the learning rates of its convolutions,
which a caffemodel records and HDF5 does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import lq_emotion.prototxt as prototxt
from caffe_compat.build.inference import inference_net
from caffe_compat.build.weights import fits, match_weights
from caffe_compat.definition.prepare import prepare
from caffe_compat.errors import CaffeCompatError, ProblemsError, WeightsError, did_you_mean, raise_together
from caffe_compat.formats.files import read_net
from caffe_compat.graph.graph import NetGraph, build_graph
from caffe_compat.layers import View, facts
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.cnn_d import CONVOLUTION_RATES, ONE_FRAME, cnn_d_deploy
from lq_emotion.nets.names import Method, Net
from lq_emotion.nets.sr_fcn import non_joint_deploy, sr_fcn_deploy
from lq_emotion.nets.switches import AS_CODE
from lq_emotion.verify.weights import LoadedWeights

Shape = tuple[int, ...]
_DEPLOY = "matlabscripts/recon/deploy"
_METHODS = {
    Net.SCRATCH: f"{Method.HR} or {Method.LR}",
    Net.JOINT: str(Method.JOINT),
    Net.NON_JOINT: str(Method.NON_JOINT),
}


@dataclass(frozen=True)
class Network:
    """A network that weights may be for."""

    name: str
    authors: bool
    """Whether its definition is the authors' own, or follows their paper."""
    definition: pb.NetParameter
    """Its deploy form, upgraded, with the layers that inference needs."""
    graph: NetGraph

    @property
    def shapes(self) -> dict[str, tuple[Shape, ...]]:
        """Return the shapes of each layer's blobs."""
        return {node.name: tuple(slot.blob.shape for slot in node.slots) for node in self.graph.nodes if node.slots}

    @property
    def output(self) -> str:
        """Return the blob that it predicts."""
        return self.graph.outputs[0]

    @property
    def predicts(self) -> bool:
        """Whether it predicts valence."""
        return "fc5" in self.shapes


@cache
def networks() -> tuple[Network, ...]:
    """Return all networks, the authors' first."""
    padded = replace(AS_CODE, convolutions="padded_no_bias", quadrant_pooling=True)
    paper = {
        "CNN+D of the paper": cnn_d_deploy(switches=padded),
        "SR-FCN of the paper": sr_fcn_deploy(switches=padded),
        "Non-Joint of the paper": non_joint_deploy(switches=replace(AS_CODE, separate_regressor=True)),
        "Non-Joint of the paper, padded": non_joint_deploy(switches=replace(padded, separate_regressor=True)),
    }
    shipped = {"CNN+D": "model_1F_CNN+D", "SR-FCN": "SRCNN_net"}
    own = {name: read_net(prototxt.path(f"{_DEPLOY}/{file}.prototxt")) for name, file in shipped.items()}
    return tuple(_network(name, net, authors=name in own) for name, net in {**own, **paper}.items())


def _network(name: str, net: pb.NetParameter, *, authors: bool) -> Network:
    prepared = prepare(net)
    prepared = replace(prepared, message=inference_net(prepared.message))
    return Network(name, authors, prepared.message, build_graph(prepared))


def recognise(weights: LoadedWeights) -> Network:
    """Return the network whose layers and blobs these are; else raise every difference from the nearest."""
    problems = {network.name: _differences(weights, network) for network in networks()}
    nearest = min(networks(), key=lambda network: len(problems[network.name]))  # the first of equals: the authors'
    raise_together(problems[nearest.name])
    return nearest


def _differences(weights: LoadedWeights, network: Network) -> list[CaffeCompatError]:
    """Return the layers that one side alone has, and the blobs of other shapes."""
    nearest = f"{network.name}, the nearest network"
    stored = {layer: [array.shape for array in arrays] for layer, arrays in weights.layers.items()}
    expected = network.shapes
    missing = [layer for layer in expected if layer not in stored]
    problems: list[CaffeCompatError] = []
    for layer in [layer for layer in stored if layer not in expected]:
        alike = next((name for name in missing if _all_fit(stored[layer], expected[name])), None)
        if alike:
            missing.remove(alike)
            hint: str | None = f"did you mean {alike!r}? its blobs have these shapes"
        else:
            hint = did_you_mean(layer, missing)
        problem = f"{nearest}, has no layer of this name"
        problems.append(WeightsError(problem, code="name-unknown", file=weights.name, layer=layer, hint=hint))
    for layer in missing:
        problem = f"is not in the file; {nearest}, has it"
        hint = f"blobs {' and '.join(map(str, expected[layer]))}"
        problems.append(WeightsError(problem, code="field-missing", file=weights.name, layer=layer, hint=hint))
    try:
        match_weights(network.graph, weights.layers)
    except CaffeCompatError as error:
        for misfit in error.problems if isinstance(error, ProblemsError) else (error,):
            misfit.file, misfit.hint = weights.name, f"compared with {nearest}"
            if misfit.layer == "conv1" and misfit.code == "shape-mismatch":
                misfit.hint = f"{misfit.hint}; {ONE_FRAME}"
            problems.append(misfit)
    return problems


def _all_fit(shapes: Sequence[Shape], expected: Sequence[Shape]) -> bool:
    return len(shapes) == len(expected) and all(map(fits, shapes, expected))


def training(weights: LoadedWeights) -> str | None:
    """Return the method whose rates of learning a caffemodel records for CNN+D; None for other rates."""
    if weights.message is None:
        return None
    rates = {layer.name: layer.param[0].lr_mult for layer in weights.message.layer if len(layer.param)}
    for net, rate in CONVOLUTION_RATES.items():
        if all(abs(rates.get(f"conv{number}", -1) - rate) < 1e-6 for number in (1, 2, 3)):
            return _METHODS[net]
    return None


def redefined(weights: LoadedWeights, network: Network) -> list[CaffeCompatError]:
    """Return where the net that wrote a caffemodel computes something else than the recognised network."""
    if weights.message is None:
        return []
    recorded = {layer.name: layer for layer in weights.message.layer if _counts(layer)}
    expected = {layer.name: layer for layer in network.definition.layer if _counts(layer)}
    problems: list[CaffeCompatError] = []
    only_blobs = all(len(layer.blobs) for layer in recorded.values())  # some programs save no other layers
    for name in recorded.keys() - expected.keys():
        problem = f"the net that wrote this file computes {recorded[name].type} here; {network.name} has no such layer"
        problems.append(WeightsError(problem, code="mismatch", file=weights.name, layer=name))
    for name, layer in expected.items():
        if name not in recorded:
            if not only_blobs:
                problem = f"the net that wrote this file has no such layer; {network.name} has, {layer.type}"
                problems.append(WeightsError(problem, code="mismatch", file=weights.name, layer=name))
            continue
        ours, theirs = _computes(layer), _computes(recorded[name])
        for key in sorted({*ours, *theirs}):
            if ours.get(key) != theirs.get(key):
                problem, value = f"recorded in this file, but {network.name} has {ours.get(key)}", theirs.get(key)
                problems.append(
                    WeightsError(problem, code="mismatch", file=weights.name, layer=name, field=key, value=value)
                )
    return problems


def _counts(layer: pb.LayerParameter) -> bool:
    """Tell whether a layer changes what a net predicts."""
    kind = facts(layer.type)
    passes = kind.identity_in_test or kind.top_view(layer) is View.VALUES
    return kind.inference and not passes and not kind.is_data


def _computes(layer: pb.LayerParameter) -> dict[str, Any]:
    """Return the settings that decide what a layer computes, each in a single form, defaults included."""
    settings: dict[str, Any] = {"type": layer.type}
    for message, account in facts(layer.type).accounts.items():
        param = getattr(layer, message)
        for name in account.read:
            field, short = param.DESCRIPTOR.fields_by_name[name], name.removesuffix("_size")
            if field.message_type or name.endswith(("_h", "_w")):
                continue  # a filler, or one side of a window
            value = getattr(param, name)
            if f"{short}_h" in account.read or not isinstance(value, bool | int | float):
                settings[name] = _of_both_sides(param, name, short)
            else:
                settings[name] = field.enum_type.values_by_number[value].name if field.enum_type else value
    return settings


def _of_both_sides(param: Any, name: str, short: str) -> tuple[int, ...]:
    """Return a size, stride, padding or dilation for each axis, however a message states it."""
    sides = (getattr(param, f"{short}_h", 0), getattr(param, f"{short}_w", 0))
    value = getattr(param, name)
    values = sides if any(sides) else (value,) if isinstance(value, int) else tuple(value)
    values = values or (int(name in ("stride", "dilation")),)
    return values * 2 if len(values) == 1 else values
