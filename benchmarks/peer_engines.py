"""The engines that peers.py measures. As a program: one engine with one task, in a process of its own.

    python benchmarks/peer_engines.py ENGINE FOLDER THREADS STARTED

It makes the engine ready, answers the task once, and writes a line of JSON. Then it reads numbers of passes, and writes
the seconds of each once its threads are asleep. STARTED is the time.monotonic() of its start.

An engine is a function of a task that returns what runs a pass: from the task's images in memory to arrays, in float32.
It imports its own package only.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

Outputs = list[np.ndarray]
Run = Callable[[], Outputs]

ITERATIONS = 3  # of training, whose losses are compared
LONGEST = 300  # seconds that an engine may take to answer
PAUSE = 0.02  # seconds, several times, until threads are asleep


@dataclass(frozen=True)
class Task:
    """A net with one batch of images, in a folder that peer_nets.py fills."""

    folder: Path
    threads: int

    @cached_property
    def images(self) -> np.ndarray:
        """The batch, (N, C, H, W) float32."""
        return np.load(self.folder / "images.npy")

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The names of the outputs, in order, and of the layers that make them."""
        return json.loads((self.folder / "outputs.json").read_text())

    @property
    def passes(self) -> int:
        """How many passes the first answer has: training shows in the second."""
        return ITERATIONS if (self.folder / "solver.prototxt").exists() else 1


def ours(task: Task) -> Run:
    """A CaffeNet, which takes torch's number of threads."""
    import torch

    from caffe_compat import load_net

    torch.set_num_threads(task.threads)
    net, images = load_net(task.folder / "net.prototxt", task.folder / "net.caffemodel"), torch.from_numpy(task.images)
    return torch.inference_mode()(lambda: arrays(net(images)))


def torch_run(task: Task, *, last: bool = False, compiled: bool = False) -> Run:
    """Torch's modules; images and weights are in channels_last already where that is asked for."""
    import torch
    from peer_torch import as_torch

    from caffe_compat import load_net

    torch.set_num_threads(task.threads)
    layout = torch.channels_last if last else torch.contiguous_format
    net = as_torch(load_net(task.folder / "net.prototxt", task.folder / "net.caffemodel")).to(memory_format=layout)
    images = torch.from_numpy(task.images).contiguous(memory_format=layout)
    net = torch.compile(net, dynamic=False) if compiled else net
    return torch.inference_mode()(lambda: arrays(net(images)))


def arrays(result: Any) -> Outputs:
    """Return the outputs of a torch module, a tensor or several by name, as arrays."""
    return [value.numpy() for value in (result.values() if isinstance(result, dict) else [result])]


def onnxruntime_run(task: Task) -> Run:
    """ONNX Runtime's own kernels, with its default optimisations (all)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(task.folder / "net.onnx", options, providers=providers)
    return lambda: session.run(list(task.outputs), {"data": task.images})


def openvino_run(task: Task) -> Run:
    """OpenVINO from ONNX; left alone it computes in bfloat16 where the processor can."""
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": task.threads, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(task.folder / "net.onnx", "CPU", hints).create_infer_request()

    def run() -> Outputs:
        results = request.infer({"data": task.images}, share_inputs=True)
        return [results[name] for name in task.outputs]

    return run


def mnn_run(task: Task) -> Run:
    """A session of MNN as configured by default, Winograd included."""
    import MNN

    def tensor(values: np.ndarray) -> MNN.Tensor:
        return MNN.Tensor(values.shape, MNN.Halide_Type_Float, values, MNN.Tensor_DimensionType_Caffe)

    file = task.folder / "net.mnn"
    if not file.exists():
        # MNN.tools.mnnconvert wraps the same function, but runs pip and reports its use; a failure ends the process
        words = ["mnnconvert", "-f", "ONNX", "--modelFile", str(task.folder / "net.onnx"), "--MNNModel", str(file)]
        code = f"import MNN, _tools; _tools.mnnconvert({[*words, '--bizCode', 'net']!r})"
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
        if not file.exists():
            raise RuntimeError(f"the converter fails: {(done.stderr + done.stdout).strip()[-200:]}")
    interpreter = MNN.Interpreter(str(file))
    session = interpreter.createSession({"backend": "CPU", "numThread": task.threads})
    tops = interpreter.getSessionOutputAll(session)
    hosts = [np.empty(tops[name].getShape(), np.float32) for name in task.outputs]
    pairs = [(tops[name], tensor(host)) for name, host in zip(task.outputs, hosts, strict=True)]
    data, images = interpreter.getSessionInput(session, "data"), tensor(task.images)

    def run() -> Outputs:
        data.copyFrom(images)
        interpreter.runSession(session)
        for top, host in pairs:
            top.copyToHostTensor(host)
        return [host.getNumpyData() for _, host in pairs]

    return run


def ncnn_run(task: Task) -> Run:
    """ncnn, converted by the pnnx of PyPI; one image after the other, for it has no batches."""
    import ncnn

    param, weights = task.folder / "one.ncnn.param", task.folder / "one.ncnn.bin"
    if not weights.exists():
        import pnnx

        shape = ",".join(map(str, (1, *task.images.shape[1:])))
        words = [pnnx.EXEC_PATH, "one.onnx", f"inputshape=[{shape}]", "fp16=0"]
        subprocess.run(words, check=True, cwd=task.folder, capture_output=True)
    net = ncnn.Net()
    net.opt.num_threads = task.threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise RuntimeError("the converted net cannot be loaded")
    images = [ncnn.Mat(image).clone() for image in task.images]

    def outputs(image: ncnn.Mat) -> Outputs:
        extractor = net.create_extractor()
        extractor.input("in0", image)
        return [np.array(extractor.extract(f"out{i}")[1]) for i in range(len(task.outputs))]

    return lambda: [np.stack(values) for values in zip(*map(outputs, images), strict=True)]


def opencv_run(task: Task) -> Run:
    """OpenCV's dnn from prototxt and caffemodel; it names layers, not blobs."""
    import cv2

    cv2.setNumThreads(task.threads)
    net = cv2.dnn.readNetFromCaffe(str(task.folder / "net.prototxt"), str(task.folder / "net.caffemodel"))

    def run() -> Outputs:
        net.setInput(task.images, "data")
        return list(net.forward(list(task.outputs.values())))

    return run


def our_training(task: Task) -> Run:
    """An iteration of a Solver, which reads its data from HDF5; returns the loss."""
    import torch

    from caffe_compat.formats.files import read_solver
    from caffe_compat.solver import Solver

    torch.set_num_threads(task.threads)
    solver = Solver(read_solver(task.folder / "solver.prototxt"))

    def run() -> Outputs:
        solver.step(1)
        return [solver.outputs["loss"].detach().reshape(1).numpy()]

    return run


def torch_training(task: Task, *, last: bool = False, double: bool = False) -> Run:
    """An iteration of torch's own SGD on the Solver's net, from the same weights; returns the loss."""
    import h5py
    import torch
    from peer_torch import as_torch

    from caffe_compat.formats.files import read_solver
    from caffe_compat.solver import Solver

    torch.set_num_threads(task.threads)
    with Solver(read_solver(task.folder / "solver.prototxt"), fast=False) as solver:
        param, params, names, net = solver.param, solver.net.params, solver.net.inputs, as_torch(solver.net)
    with h5py.File(task.folder / "train.h5") as file:
        inputs = [torch.from_numpy(file[name][()]) for name in names]
    layout, dtype = torch.channels_last if last else torch.contiguous_format, torch.double if double else torch.float
    inputs = [x.to(dtype, memory_format=layout if x.ndim == 4 else torch.contiguous_format) for x in inputs]
    net = net.to(dtype, memory_format=layout)
    groups = [
        {
            "params": [net.get_parameter(p.key)],
            "lr": param.base_lr * p.lr_mult,
            "weight_decay": param.weight_decay * p.decay_mult,
        }
        for p in params
    ]
    sgd = torch.optim.SGD(groups, momentum=param.momentum)

    def run() -> Outputs:
        sgd.zero_grad(set_to_none=True)
        loss = net(*inputs)
        loss.backward()
        sgd.step()
        return [loss.detach().reshape(1).numpy()]

    return run


@dataclass(frozen=True)
class Engine:
    """An engine.

    Attributes
    ----------
    modules : what it imports.
    make : returns what runs a pass.
    train : the same for an iteration of SGD.
    needs : packages beside this one, torch and OpenCV.
    """

    modules: tuple[str, ...]
    make: Callable[[Task], Run]
    train: Callable[[Task], Run] | None = None
    needs: tuple[str, ...] = ()


OURS, IMPORT = "caffe-compat", "`import torch` alone"
ALONE = Engine(("torch",), lambda _task: list, lambda _task: list)
ENGINES = {
    OURS: Engine(("torch", "caffe_compat.build.net"), ours, our_training),
    "torch": Engine(("torch",), torch_run, torch_training),
    "torch, channels_last": Engine(("torch",), partial(torch_run, last=True), partial(torch_training, last=True)),
    "torch.compile": Engine(("torch",), partial(torch_run, compiled=True)),
    "ONNX Runtime": Engine(("onnxruntime",), onnxruntime_run, needs=("onnx", "onnxruntime")),
    "OpenVINO": Engine(("openvino",), openvino_run, needs=("onnx", "openvino")),
    "MNN": Engine(("MNN",), mnn_run, needs=("onnx", "MNN")),
    "ncnn": Engine(("ncnn",), ncnn_run, needs=("onnx", "ncnn", "pnnx")),
    "OpenCV": Engine(("cv2",), opencv_run),
}


def fall_asleep() -> None:
    """Wait until no thread of this process computes: many engines' threads go on looking for work for a while."""
    for _ in range(50):
        before = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - before < PAUSE / 20:
            return


def peak_memory() -> int:
    """Return the largest resident memory of this process so far in bytes, 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def main() -> None:
    """Serve one engine."""
    name, folder, threads, started = sys.argv[1:]
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # some engines print
    faulthandler.dump_traceback_later(LONGEST, exit=True)
    task, engine = Task(Path(folder), int(threads)), ENGINES.get(name, ALONE)
    try:
        for module in engine.modules:
            importlib.import_module(module)
        imported = time.monotonic()
        run = (engine.make if task.passes == 1 else engine.train)(task)
        outputs = [np.array(output) for _ in range(task.passes) for output in run()]
        answered = time.monotonic()
        np.savez(task.folder / f"{os.getpid()}.npz", *outputs)
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is a result
        channel.write(json.dumps({"problem": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}) + "\n")
        return
    reply = {"imports": imported - float(started), "answer": answered - float(started)}
    while True:
        fall_asleep()
        channel.write(json.dumps({**reply, "memory": peak_memory()}) + "\n")
        faulthandler.cancel_dump_traceback_later()
        if not (line := sys.stdin.readline()):
            return
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        passes = int(line)
        if passes > 1:
            run()  # brings a small net back into the caches
        start = time.perf_counter()
        for _ in range(passes):
            run()
        reply = {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
