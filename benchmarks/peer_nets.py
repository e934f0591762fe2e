"""The nets that peers.py measures, in every form that an engine asks for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bench_resnet50
import h5py
import numpy as np
import torch
from peer_engines import Outputs, Task, arrays, torch_training
from peer_torch import as_torch

from caffe_compat import CaffeNet, load_net, save_weights
from caffe_compat.build.inference import inference_net
from caffe_compat.definition.netspec import NetSpec, Top
from caffe_compat.definition.netspec import layers as L
from caffe_compat.definition.netspec import params as P
from caffe_compat.definition.prepare import prepare
from caffe_compat.formats.files import read_net, read_solver, write_text
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.prototxt import path

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
    solver : of a net to train; `label` is the shape of an image's label.
    """

    definition: Path | Callable[[], pb.NetParameter]
    image: tuple[int, int, int]
    batches: tuple[int, ...] = (1, 8)
    weights: Path | None = None
    solver: Path | None = None
    label: tuple[int, ...] = (1,)

    def prepare(self, batch: int, folder: Path) -> Outputs:
        """Write every file of a task; return the outputs for the first images, REFERENCE of them even for one, or the
        losses of the first iterations, computed in float64.
        """
        if self.solver is not None:
            losses = self._prepare_training(batch, folder)
            _require_change("losses", np.stack(losses))
            return losses
        outputs = self._prepare_passes(batch, folder)
        for values in outputs if self.weights is None else ():
            _require_change("outputs", values)
        return outputs

    def _prepare_passes(self, batch: int, folder: Path) -> Outputs:
        message = inference_net(
            prepare(self.definition if isinstance(self.definition, Path) else self.definition()).message
        )
        message.layer[0].input_param.ClearField("shape")
        message.layer[0].input_param.shape.add(dim=(batch, *self.image))
        prototxt, caffemodel = folder / "net.prototxt", folder / "net.caffemodel"
        write_text(message, prototxt)
        net = load_net(prototxt, self.weights)
        if self.weights is None:
            draw_weights(net)
        save_weights(net, caffemodel)
        images = np.random.default_rng(0).uniform(-1, 1, (max(batch, REFERENCE), *self.image)).astype(np.float32)
        np.save(folder / "images.npy", images[:batch])
        layers = {top: node.name for node in net.caffe.nodes for top in node.spec.param.top}
        (folder / "outputs.json").write_text(json.dumps({name: layers[name] for name in net.returns}))
        write_onnx(net, folder, {"net": batch, "one": 1})
        with torch.inference_mode():
            return arrays(as_torch(net).double()(torch.from_numpy(images[:REFERENCE]).double()))

    def _prepare_training(self, batch: int, folder: Path) -> Outputs:
        """Write a solver without Dropout, whose masks would differ, and without weights too small to learn."""
        rng = np.random.default_rng(0)
        with h5py.File(folder / "train.h5", "w") as file:
            for name, shape in (("data", self.image), ("label", self.label)):
                file[name] = rng.uniform(-1, 1, (batch, *shape)).astype(np.float32)
        (folder / "train.txt").write_text(f"{folder / 'train.h5'}\n")
        net, param = read_net(self.definition), read_solver(self.solver)
        for layer in list(net.layer):
            if layer.type == "HDF5Data":
                layer.hdf5_data_param.source, layer.hdf5_data_param.batch_size = str(folder / "train.txt"), batch
            elif layer.type == "Dropout":
                net.layer.remove(layer)
            elif layer.type == "Convolution":
                layer.convolution_param.weight_filler.CopyFrom(pb.FillerParameter(type="xavier"))
        for field in ("net", "test_iter", "test_interval", "snapshot", "display"):
            param.ClearField(field)
        param.net_param.CopyFrom(net)
        param.snapshot_after_train, param.random_seed = False, 0
        write_text(param, folder / "solver.prototxt")
        task = Task(folder, torch.get_num_threads())
        run = torch_training(task, double=True)
        return [loss for _ in range(task.passes) for loss in run()]


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


def sources(published: Path) -> dict[str, Source]:
    """Return the nets by name, those to train last; `published` is a folder of published ones, and may not exist.

    The joint nets have CNN+D's layers, and differ from it in training only.
    """
    nets = {
        "CNN+D": Source(path("matlabscripts/recon/deploy/model_1F_CNN+D.prototxt"), GRAY, (1, 16, 128)),
        "SR-FCN": Source(path("matlabscripts/recon/deploy/SRCNN_net.prototxt"), GRAY),
        "VGG-16": Source(vgg16, COLOUR),
        "ResNet-50": Source(resnet50, COLOUR),
        "MobileNet v1": Source(mobilenet, COLOUR),
    }
    for name, file, image, batches in (
        ("MTCNN P-Net", "mtcnn/det1", (3, 360, 640), (1,)),
        ("MTCNN R-Net", "mtcnn/det2", (3, 24, 24), (16,)),
        ("MTCNN O-Net", "mtcnn/det3", (3, 48, 48), (16,)),
        ("mini-XCEPTION", "mini_xception/deploy", (1, 64, 64), (1,)),
    ):
        definition, weights = published / f"{file}.prototxt", published / f"{file}.caffemodel"
        weights = weights if weights.exists() else definition.with_name("weights.caffemodel")
        if definition.exists():
            nets[name] = Source(definition, image, batches, weights)
    for name, net, solver, image, label in (
        ("CNN+D", "experiments/network/model_1F_CNN+D", "experiments/solver/solver_1F_CNN+D", GRAY, (1,)),
        ("Joint", "experiments/network/model_1F_CNN+D_vlqr", "experiments/solver/solver_1F_CNN+D_vlqr", GRAY, (1,)),
        ("SR-FCN", "pretrain/Pretrain_net", "pretrain/Pretrain_solver", (1, 32, 32), (1, 16, 16)),
    ):
        definition, solver = path(f"{net}.prototxt"), path(f"{solver}.prototxt")
        nets[f"{name}, SGD iteration"] = Source(definition, image, (16, 128), solver=solver, label=label)
    return nets


def write_onnx(net: CaffeNet, folder: Path, batches: dict[str, int]) -> None:
    """Write the net as ONNX, all sizes fixed: a file for each of these batch sizes."""
    import onnx
    from onnx.tools.update_model_dims import update_inputs_outputs_dims

    from caffe_compat.export.onnx import to_onnx

    to_onnx(net, folder / "any.onnx")
    for name, batch in batches.items():
        dims = [{blob: [batch, *net.caffe.shapes[blob][1:]] for blob in blobs} for blobs in (net.inputs, net.returns)]
        onnx.save(update_inputs_outputs_dims(onnx.load(folder / "any.onnx"), *dims), folder / f"{name}.onnx")


def _require_change(what: str, values: np.ndarray) -> None:
    """Refuse values that hardly change from row to row: they would be right without a computation."""
    if not abs(values[0] - values[-1]).max() > 1e-3 * abs(values).max():
        raise ValueError(f"{what} hardly change: {values.reshape(len(values), -1)[:, :4]}")


def draw_weights(net: CaffeNet) -> None:
    """Give every blob seeded values that keep the size of what passes through."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for slot in net.params:
            if slot.tensor.ndim > 1:
                slot.tensor.normal_(0, math.sqrt(2 / slot.tensor[0].numel()), generator=generator)
            else:
                slot.tensor.uniform_(*VECTORS[slot.blob.name], generator=generator)
