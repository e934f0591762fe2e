"""The nets that peers.py measures, in every form that an engine asks for."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bench_resnet50
import numpy as np
import torch
from torch import fx, nn

from caffe_compat import CaffeNet, load_net, save_weights
from caffe_compat.build.inference import inference_net
from caffe_compat.definition.netspec import NetSpec, Top
from caffe_compat.definition.netspec import layers as L
from caffe_compat.definition.netspec import params as P
from caffe_compat.definition.prepare import prepare
from caffe_compat.formats.files import write_text
from caffe_compat.layers.batch_norm import BatchNormModule
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.prototxt import path

Outputs = list[np.ndarray]

GRAY, COLOUR = (1, 96, 96), (3, 224, 224)
REFERENCE = 4
"""The number of images whose outputs are computed in float64."""
VECTORS = {"mean": (-0.1, 0.1), "variance": (0.8, 1.2), "factor": (1, 1), "weight": (0.8, 1.2), "bias": (-0.1, 0.1)}
"""The range of a blob's random values, where it is a vector."""


@dataclass(frozen=True)
class Source:
    """A net to measure.

    Attributes
    ----------
    definition : a prototxt, or a function that makes the message. The net has one input, `data`.
    image : channels, height, width.
    batches : sizes to measure.
    weights : a caffemodel; without, seeded random values.
    """

    definition: Path | Callable[[], pb.NetParameter]
    image: tuple[int, int, int]
    batches: tuple[int, ...] = (1, 16, 128)
    weights: Path | None = None


def vgg16() -> pb.NetParameter:
    """VGG-16 up to its scores."""
    n = NetSpec()
    n.data = x = L.Input(shape={"dim": [1, *COLOUR]})
    for block, (count, width) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
        for at in (f"{block}_{i + 1}" for i in range(count)):
            n[f"conv{at}"] = x = L.Convolution(x, num_output=width, kernel_size=3, pad=1)
            n[f"relu{at}"] = x = L.ReLU(x, in_place=True)
        n[f"pool{block}"] = x = L.Pooling(x, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    for at in (6, 7):
        n[f"fc{at}"] = x = L.InnerProduct(x, num_output=4096)
        n[f"relu{at}"] = x = L.ReLU(x, in_place=True)
    n.fc8 = L.InnerProduct(x, num_output=1000)
    return n.to_proto()


def resnet50() -> pb.NetParameter:
    """ResNet-50 up to its scores: a softmax would hide differences."""
    message = bench_resnet50.definition()
    del message.layer[-1]
    return message


def mobilenet() -> pb.NetParameter:
    """MobileNet v1 up to its scores; its depthwise convolutions are made by `group`."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [1, *COLOUR]})

    def conv(name: str, bottom: Top, outputs: int, **window: int) -> Top:
        n[name] = L.Convolution(bottom, num_output=outputs, bias_term=False, **window)
        n[f"{name}_bn"] = L.BatchNorm(n[name], in_place=True)
        n[f"{name}_scale"] = L.Scale(n[f"{name}_bn"], in_place=True, bias_term=True)
        n[f"{name}_relu"] = L.ReLU(n[f"{name}_scale"], in_place=True)
        return n[f"{name}_relu"]

    x, width = conv("conv1", n.data, 32, kernel_size=3, stride=2, pad=1), 32
    widths = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for i, (outputs, stride) in enumerate(zip(widths, (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1), strict=True), 2):
        x = conv(f"conv{i}_dw", x, width, kernel_size=3, stride=stride, pad=1, group=width)
        x, width = conv(f"conv{i}_sep", x, outputs, kernel_size=1), outputs
    n.pool = L.Pooling(x, pool=P.Pooling.AVE, global_pooling=True)
    n.fc = L.InnerProduct(n.pool, num_output=1000)
    return n.to_proto()


def sources(published: Path | None) -> dict[str, Source]:
    """Return the nets by name; `published` is a folder of published ones."""
    nets = {
        "CNN+D": Source(path("matlabscripts/recon/deploy/model_1F_CNN+D.prototxt"), GRAY),
        "CNN+D, joint": Source(path("experiments/network/model_1F_CNN+D_vlqr.prototxt"), GRAY),
        # one blob of SR-FCN has 0.9 GB at batch 128, and all engines are in memory at once
        "SR-FCN": Source(path("matlabscripts/recon/deploy/SRCNN_net.prototxt"), GRAY, (1, 16)),
        "VGG-16": Source(vgg16, COLOUR, (1, 8)),
        "ResNet-50": Source(resnet50, COLOUR, (1, 8)),
        "MobileNet v1": Source(mobilenet, COLOUR, (1, 8)),
    }
    if published is not None:
        for name, net, side in (("P-Net", "det1", 12), ("R-Net", "det2", 24), ("O-Net", "det3", 48)):
            file = published / "mtcnn" / f"{net}.prototxt"
            nets[f"MTCNN {name}"] = Source(file, (3, side, side), weights=file.with_suffix(".caffemodel"))
        file = published / "mini_xception" / "deploy.prototxt"
        nets["mini-XCEPTION"] = Source(file, (1, 64, 64), weights=file.with_name("weights.caffemodel"))
    return nets


@dataclass(frozen=True)
class Model:
    """A net with weights at one batch size.

    Attributes
    ----------
    net : this engine's.
    folder : holds net.prototxt, net.caffemodel and what engines convert.
    images : the batch, (N, C, H, W) float32.
    expected : the outputs for the first images, REFERENCE of them even for a batch of one, computed in float64.
    """

    net: CaffeNet
    folder: Path
    images: np.ndarray
    expected: Outputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs, in order."""
        return self.net.returns

    def onnx(self, batch: int) -> str:
        """Write the net as ONNX, all sizes fixed; return the file's name."""
        file = self.folder / f"{batch}.onnx"
        if not file.exists():
            import onnx
            from onnx.tools.update_model_dims import update_inputs_outputs_dims

            from caffe_compat.export.onnx import to_onnx

            to_onnx(self.net, file)
            data = {"data": [batch, *self.images.shape[1:]]}
            outputs = {name: [batch, *self.net.caffe.shapes[name][1:]] for name in self.outputs}
            onnx.save(update_inputs_outputs_dims(onnx.load(file), data, outputs), file)
        return str(file)


def make_model(source: Source, batch: int, folder: Path) -> Model:
    """Return a net at a batch size; `folder` is for its files."""
    definition = source.definition if isinstance(source.definition, Path) else source.definition()
    message = inference_net(prepare(definition).message)
    message.layer[0].input_param.ClearField("shape")
    message.layer[0].input_param.shape.add(dim=(batch, *source.image))
    prototxt, caffemodel = folder / "net.prototxt", folder / "net.caffemodel"
    write_text(message, prototxt)
    net = load_net(prototxt, source.weights)
    if source.weights is None:
        draw_weights(net)
    save_weights(net, caffemodel)
    net = load_net(prototxt, caffemodel).requires_grad_(False)
    images = np.random.default_rng(0).uniform(-1, 1, (max(batch, REFERENCE), *source.image)).astype(np.float32)
    expected = arrays(as_torch(net).double()(torch.from_numpy(images[:REFERENCE]).double()))
    for name, values in zip(net.returns, expected, strict=True):
        if source.weights is None and not abs(values[0] - values[1]).max() > 1e-3 * abs(values).max():
            raise ValueError(f"{name} hardly depends on the image: {values.reshape(len(values), -1)[:2, :4]}")
    return Model(net, folder, images[:batch], expected)


def draw_weights(net: CaffeNet) -> None:
    """Give every blob seeded values that keep the size of what passes through."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for slot in net.params:
            if slot.tensor.ndim > 1:
                slot.tensor.normal_(0, math.sqrt(2 / slot.tensor[0].numel()), generator=generator)
            else:
                slot.tensor.uniform_(*VECTORS[slot.blob.name], generator=generator)


def as_torch(net: CaffeNet) -> fx.GraphModule:
    """Return a copy of a net as torch's users write it: torch's modules, batch norms with torch's statistics."""
    plain = copy.deepcopy(fx.GraphModule(net, net.graph)).train(net.training)
    values = {**dict(plain.named_parameters()), **dict(plain.named_buffers())}
    for node in plain.graph.nodes:
        norm = plain.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(norm, BatchNormModule) and not net.training:
            module = nn.BatchNorm2d(len(norm.mean), norm.eps, affine=len(node.args) > 1).eval()
            module.running_mean, module.running_var = norm.mean / norm.factor, norm.variance / norm.factor
            for name, value in zip(("weight", "bias"), node.args[1:], strict=False):
                setattr(module, name, values[value.target])
            plain.set_submodule(node.target, module)
            node.args = node.args[:1]
    plain.graph.eliminate_dead_code()
    plain.recompile()
    return plain


def arrays(result: torch.Tensor | dict[str, torch.Tensor]) -> Outputs:
    """Return the outputs of a torch module as arrays."""
    return [value.numpy() for value in (result.values() if isinstance(result, dict) else [result])]
