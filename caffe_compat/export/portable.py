"""The starting point of every format: a net of modules as plain as possible, and its definition."""

from __future__ import annotations

import copy
import importlib
import os
from typing import Any

import torch
from torch import fx, nn

from caffe_compat.build.net import CaffeNet
from caffe_compat.build.preprocess import Preprocessing, to_json
from caffe_compat.errors import CaffeCompatError, FileError, NetError, raise_together
from caffe_compat.formats.extras import plain
from caffe_compat.formats.files import read_bytes
from caffe_compat.formats.text import format_text
from caffe_compat.graph.graph import LayerNode, NetGraph
from caffe_compat.layers.convolution import FewOutputsConv2d, PointConv2d
from caffe_compat.layers.recurrent import RecurrentModule
from caffe_compat.schema import caffe_pb2 as pb


class Preprocess(nn.Module):
    """(x * raw_scale - mean), cropped in the middle, * scale, as Caffe's data layers compute it.

    Takes (N, 3, H, W) in RGB, or (N, 1, H, W) for a net of gray images, with values of 0 to 255. A mean image must
    have the size of the images.
    """

    mean: torch.Tensor

    def __init__(
        self, *, swap: bool, raw_scale: float, mean: tuple[int, ...], crop: tuple[int, int] | None, scale: float
    ) -> None:
        super().__init__()
        self.swap, self.raw_scale, self.crop, self.scale = swap, raw_scale, crop, scale
        self.register_buffer("mean", torch.zeros(mean))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the net's input, (N, C, H, W)."""
        x = image.to(self.mean.dtype)
        x = x.flip(1) if self.swap else x
        x = x * self.raw_scale - self.mean
        if self.crop is not None:
            top, left = (x.shape[2] - self.crop[0]) // 2, (x.shape[3] - self.crop[1]) // 2
            x = x.narrow(2, top, self.crop[0]).narrow(3, left, self.crop[1])
        return x * self.scale


def preprocess_module(preprocessing: Preprocessing) -> Preprocess:
    """Return the module of a preprocessing; decoding, resizing and turning gray stay with the caller."""
    values = torch.zeros(1) if preprocessing.mean is None else torch.from_numpy(preprocessing.mean)
    mean = values if values.dim() == 3 else values.reshape(-1, 1, 1)
    module = Preprocess(
        swap=preprocessing.channels == "BGR",
        raw_scale=preprocessing.raw_scale,
        mean=tuple(mean.shape),
        crop=preprocessing.crop,
        scale=preprocessing.scale,
    )
    module.mean.copy_(mean)
    return module.eval()


def packages(extra: str, *names: str) -> list[Any]:
    """Import packages that only an extra of this one installs."""
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        name, hint = (error.name or "").partition(".")[0], f'pip install "caffe-compat[{extra}]"'
        raise CaffeCompatError(f"the package {name} is not installed", code="dependency-missing", hint=hint) from None


def require_inference(net: CaffeNet) -> None:
    """Refuse a net that was built for training."""
    if net.caffe.phase != "TEST" or net.training:
        hint = "build it with phase='TEST', and call eval()"
        raise NetError("a net in training cannot be exported", code="unsupported", field="phase", hint=hint)


def refusal(node: LayerNode, to: str, reason: str) -> NetError:
    """Return the error about a layer that a format cannot express."""
    return node.spec.error(f"cannot be exported to {to}: {reason}", "type", node.type, code="unsupported")


def refuse_effects(net: CaffeNet, to: str) -> None:
    """Refuse layers that do something besides making tops, such as writing files."""
    raise_together([refusal(node, to, "it writes files") for node in net.caffe.nodes if node.layer.has_effect])


def preprocessing_of_net(net: CaffeNet, field: str = "with_preprocessing") -> Preprocessing:
    """Return the preprocessing of a net, which the option `field` needs."""
    preprocessing: Preprocessing | None = net.meta.get("preprocessing")
    if preprocessing is None:
        hint = "put NAME.preprocess.json next to the weights (docs/preprocessing.md)"
        raise NetError("the net has no preprocessing", code="field-missing", field=field, hint=hint)
    if preprocessing.input not in net.inputs:
        hint = f"the net's inputs are {', '.join(net.inputs)}"
        problem = "the preprocessing is for an input that the net does not have"
        raise NetError(problem, code="name-unknown", field="input", value=preprocessing.input, hint=hint)
    shape, channels = net.caffe.shapes[preprocessing.input], 1 if preprocessing.channels == "GRAY" else 3
    if len(shape) != 4 or shape[1] != channels:
        problem = f"the preprocessing makes images of {channels} channels, the net takes {shape}"
        raise NetError(problem, code="shape-mismatch", field="channels", value=preprocessing.channels)
    return preprocessing


def plain_module(module: nn.Module) -> nn.Module:
    """Return a copy of a layer's module on the CPU, torch's own where ours only computes the same faster.

    Its values are in torch's default order: others would decide the layout of every blob of an exported program.
    A recurrent layer starts every pass from zeros.
    """
    twin = copy.copy(module)
    if isinstance(module, FewOutputsConv2d | PointConv2d):
        twin.__class__ = nn.Conv2d
    elif isinstance(twin, RecurrentModule):
        twin.reset()
    twin._parameters = {
        name: value if value is None else nn.Parameter(_in_order(value), requires_grad=False)
        for name, value in module._parameters.items()
    }
    twin._buffers = {name: value if value is None else _in_order(value) for name, value in module._buffers.items()}
    twin._modules = {name: child if child is None else plain_module(child) for name, child in module._modules.items()}
    return twin


def _in_order(value: torch.Tensor) -> torch.Tensor:
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def portable_net(net: CaffeNet, *, with_preprocessing: bool = False) -> fx.GraphModule:
    """Return the net's calls on plain modules, after the preprocessing where that is included."""
    require_inference(net)
    root, calls = nn.Module(), fx.Graph()
    for name, child in net.named_children():
        root.add_module(name, plain_module(child))
    calls.output(calls.graph_copy(net.graph, {}))
    if with_preprocessing:
        preprocessing = preprocessing_of_net(net)
        key = preprocess_key(net)
        root.add_module(key, preprocess_module(preprocessing))
        placeholders = [node for node in calls.nodes if node.op == "placeholder"]
        image = placeholders[net.inputs.index(preprocessing.input)]
        with calls.inserting_after(placeholders[-1]):
            prepared = calls.call_module(key, (image,))
        image.replace_all_uses_with(prepared, delete_user_cb=lambda user: user is not prepared)
    return fx.GraphModule(root, calls).eval()


def preprocess_key(net: CaffeNet) -> str:
    """Return the name of the preprocessing's module, which no layer has."""
    key = "preprocess"
    while hasattr(net, key):
        key += "_"
    return key


def definition_of(graph: NetGraph) -> pb.NetParameter:
    """Return a net's definition without values: its inputs with their shapes, and the layers as written.

    The Split layers that Caffe inserts are left out.
    """
    net, origin = pb.NetParameter(name=graph.name), dict[str, str]()
    for node in graph.nodes:
        if node.is_split and not any(node.loss_weights) and not set(node.tops) & set(graph.outputs):
            origin |= dict.fromkeys(node.tops, origin.get(node.bottoms[0], node.bottoms[0]))
            continue
        layer = net.layer.add()
        if node.layer.is_data:
            layer.CopyFrom(pb.LayerParameter(name=node.name, type="Input", top=node.tops))
            for top in node.tops:
                layer.input_param.shape.add(dim=graph.shapes[top])
            continue
        layer.CopyFrom(plain(node.written))
        layer.ClearField("blobs")
        layer.bottom[:] = [origin.get(blob, blob) for blob in layer.bottom]
    return net


def forks_of(graph: NetGraph) -> tuple[str, ...]:
    """Return the forks whose layer types a net has."""
    return tuple(dict.fromkeys(node.spec.fork for node in graph.nodes if node.spec.fork))


def metadata(net: CaffeNet) -> dict[str, str]:
    """Return the metadata of a net: its definition, and its preprocessing and labels where it has them."""
    texts = {"definition.prototxt": format_text(definition_of(net.caffe))}
    if net.meta.get("preprocessing") is not None:
        texts["preprocessing.json"] = to_json(net.meta["preprocessing"])
    if labels := labels_of(net):
        texts["labels.txt"] = "".join(f"{label}\n" for label in labels)
    return texts


def labels_of(net: CaffeNet) -> tuple[str, ...]:
    """Return the names of a net's classes or dimensions, ``net.meta["labels"]``, as far as it has them."""
    labels = tuple(net.meta.get("labels") or ())
    outputs = {blob: net.caffe.shapes[blob] for blob in net.caffe.outputs}
    listed = any(node.layer.open_axis is not None for node in net.caffe.nodes)  # detections name their class by number
    if labels and not listed and all(len(labels) != (*shape[1:2], 1)[0] for shape in outputs.values()):
        listing = ", ".join(f"{blob} {shape}" for blob, shape in outputs.items())
        problem, hint = f"{len(labels)} labels fit no output", f"the outputs are {listing}"
        raise NetError(problem, code="wrong-count", field="labels", hint=hint)
    return labels


def parse_labels(text: str) -> tuple[str, ...]:
    """Return the labels of a text, one a line."""
    return tuple(line.strip() for line in text.strip().split("\n"))


def read_labels(file: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the labels of a file, one a line, as in Caffe's ``synset_words.txt``."""
    try:
        labels = parse_labels(read_bytes(file).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise FileError("is not UTF-8 text", code="wrong-format", file=file) from None
    if "" in labels:
        problem, line = "expected a label", labels.index("") + 1
        raise FileError(problem, code="empty", file=file, line=line, hint="write one label a line")
    return labels
