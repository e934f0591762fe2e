"""The engines that peers.py measures: functions of a model and a number of threads that return what runs a pass.

A pass takes the model's images from an array in memory and returns its outputs as arrays, all in float32. Each function
imports the package of its engine, so that the others run without it.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch
from peer_nets import GRAY, Model, Outputs, arrays, as_torch
from torch import fx

from caffe_compat.formats.files import read_net, read_solver
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from lq_emotion.prototxt import path

Run = Callable[[], Outputs]


def ours(model: Model, _threads: int) -> Run:
    """A CaffeNet, which takes torch's number of threads."""
    images = torch.from_numpy(model.images)
    return torch.inference_mode()(lambda: arrays(model.net(images)))


def torch_run(model: Model, _threads: int, *, last: bool = False, compiled: bool = False) -> Run:
    """Torch's modules; images and weights are in channels_last already where that is asked for."""
    layout = torch.channels_last if last else torch.contiguous_format
    net, images = as_torch(model.net).to(memory_format=layout), torch.from_numpy(model.images)
    images = images.contiguous(memory_format=layout)
    if compiled:
        torch.compiler.reset()  # what is compiled holds for one number of threads
        net = torch.compile(net, dynamic=False)
    return torch.inference_mode()(lambda: arrays(net(images)))


def onnxruntime_run(model: Model, threads: int) -> Run:
    """ONNX Runtime's own kernels, with its default optimisations (all)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.onnx(len(model.images)), options, providers=providers)
    return lambda: session.run(list(model.outputs), {"data": model.images})


def openvino_run(model: Model, threads: int) -> Run:
    """OpenVINO from ONNX; left alone it computes in bfloat16 where the processor can."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(model.onnx(len(model.images)), "CPU", settings)
    request = compiled.create_infer_request()

    def run() -> Outputs:
        results = request.infer({"data": model.images}, share_inputs=True)
        return [results[name] for name in model.outputs]

    return run


def mnn_run(model: Model, threads: int) -> Run:
    """A session of MNN as configured by default, Winograd included."""
    import MNN

    def tensor(values: np.ndarray) -> MNN.Tensor:
        return MNN.Tensor(values.shape, MNN.Halide_Type_Float, values, MNN.Tensor_DimensionType_Caffe)

    file = model.folder / "net.mnn"
    if not file.exists():
        # MNN.tools.mnnconvert wraps the same function, but runs pip and reports its use; a failure ends the process
        words = ["mnnconvert", "-f", "ONNX", "--modelFile", model.onnx(len(model.images)), "--MNNModel", str(file)]
        code = f"import MNN, _tools; _tools.mnnconvert({[*words, '--bizCode', 'net']!r})"
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
        if not file.exists():
            raise RuntimeError(f"the converter fails: {(done.stderr + done.stdout).strip()[-200:]}")
    interpreter = MNN.Interpreter(str(file))
    session = interpreter.createSession({"backend": "CPU", "numThread": threads})
    tops = interpreter.getSessionOutputAll(session)
    hosts = [np.empty(tops[name].getShape(), np.float32) for name in model.outputs]
    pairs = [(tops[name], tensor(host)) for name, host in zip(model.outputs, hosts, strict=True)]
    data, images = interpreter.getSessionInput(session, "data"), tensor(model.images)

    def run() -> Outputs:
        data.copyFrom(images)
        interpreter.runSession(session)
        for top, host in pairs:
            top.copyToHostTensor(host)
        return [host.getNumpyData() for _, host in pairs]

    return run


def ncnn_run(model: Model, threads: int) -> Run:
    """ncnn, converted by the pnnx of PyPI; one image after the other, for it has no batches."""
    import ncnn
    import pnnx

    param, weights = model.folder / "1.ncnn.param", model.folder / "1.ncnn.bin"
    if not weights.exists():
        shape = ",".join(map(str, (1, *model.images.shape[1:])))
        words = [pnnx.EXEC_PATH, model.onnx(1), f"inputshape=[{shape}]", "fp16=0"]
        subprocess.run(words, check=True, cwd=model.folder, capture_output=True)
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise RuntimeError("the converted net cannot be loaded")
    images = [ncnn.Mat(image).clone() for image in model.images]

    def outputs(image: ncnn.Mat) -> Outputs:
        extractor = net.create_extractor()
        extractor.input("in0", image)
        return [np.array(extractor.extract(f"out{i}")[1]) for i in range(len(model.outputs))]

    return lambda: [np.stack(values) for values in zip(*map(outputs, images), strict=True)]


def opencv_run(model: Model, threads: int) -> Run:
    """OpenCV's dnn from prototxt and caffemodel."""
    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromCaffe(str(model.folder / "net.prototxt"), str(model.folder / "net.caffemodel"))
    layers = {top: node.name for node in model.net.caffe.nodes for top in node.spec.param.top}
    names = [layers[name] for name in model.outputs]  # OpenCV names layers, not blobs

    def run() -> Outputs:
        net.setInput(model.images, "data")
        return list(net.forward(names))

    return run


OURS = "caffe-compat"
ENGINES: dict[str, tuple[tuple[str, ...], Callable[[Model, int], Run]]] = {
    OURS: ((), ours),
    "torch": ((), torch_run),
    "torch, channels_last": ((), partial(torch_run, last=True)),
    "torch.compile": ((), partial(torch_run, compiled=True)),
    "ONNX Runtime": (("onnx", "onnxruntime"), onnxruntime_run),
    "OpenVINO": (("onnx", "openvino"), openvino_run),
    "MNN": (("onnx", "MNN"), mnn_run),
    "ncnn": (("onnx", "ncnn", "pnnx"), ncnn_run),
    "OpenCV": ((), opencv_run),
}
"""The packages beside this one that an engine needs, and what makes its run."""


# One SGD iteration of CNN+D: a run is an iteration and returns its loss.


@contextmanager
def training(batch: int, folder: Path) -> Iterator[tuple[dict[str, Callable[[], Run]], Run]]:
    """Yield what makes runs, by engine, and a run in float64: they train on one batch, from the same weights.

    The net has no Dropout, whose masks would differ.
    """
    rng = np.random.default_rng(0)
    values = {"data": rng.uniform(-1, 1, (batch, *GRAY)), "label": rng.uniform(-1, 1, (batch, 1))}
    with h5py.File(folder / "train.h5", "w") as file:
        for name, array in values.items():
            file[name] = array.astype(np.float32)
    (folder / "train.txt").write_text(f"{folder / 'train.h5'}\n")
    with Solver(_solver_param(batch, folder / "train.txt")) as solver:
        start = as_torch(solver.net)
        inputs = [torch.from_numpy(values[name].astype(np.float32)) for name in solver.net.inputs]
        double = _torch_iteration(solver, copy.deepcopy(start).double(), [value.double() for value in inputs])
        makers = {OURS: lambda: partial(_iterate, solver)}
        for name, layout in (("torch", torch.contiguous_format), ("torch, channels_last", torch.channels_last)):
            data = [value.contiguous(memory_format=layout) if value.ndim == 4 else value for value in inputs]
            net = copy.deepcopy(start).to(memory_format=layout)
            makers[name] = partial(_torch_iteration, solver, net, data)
        yield makers, double


def _solver_param(batch: int, data: Path) -> pb.SolverParameter:
    param = read_solver(path("experiments/solver/solver_1F_CNN+D.prototxt"))
    net = read_net(path("experiments/network/model_1F_CNN+D.prototxt"))
    for layer in list(net.layer):
        if layer.type == "HDF5Data":
            layer.hdf5_data_param.source, layer.hdf5_data_param.batch_size = str(data), batch
        elif layer.type == "Dropout":
            net.layer.remove(layer)
    param.net_param.CopyFrom(net)
    for field in ("net", "test_iter", "test_interval", "snapshot", "display"):
        param.ClearField(field)
    param.snapshot_after_train, param.random_seed = False, 0
    return param


def _iterate(solver: Solver) -> Outputs:
    solver.step(1)
    return [solver.outputs["loss"].detach().reshape(1).numpy()]


def _torch_iteration(solver: Solver, net: fx.GraphModule, inputs: list[torch.Tensor]) -> Run:
    rate, decay = solver.param.base_lr, solver.param.weight_decay
    groups = [
        {"params": [net.get_parameter(p.key)], "lr": rate * p.lr_mult, "weight_decay": decay * p.decay_mult}
        for p in solver.net.params
    ]
    sgd = torch.optim.SGD(groups, momentum=solver.param.momentum)

    def run() -> Outputs:
        sgd.zero_grad(set_to_none=True)
        loss = net(*inputs)
        loss.backward()
        sgd.step()
        return [loss.detach().reshape(1).numpy()]

    return run
