"""Nets as Python source: what the code says, that tools accept it, and every layer type against genuine Caffe."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat import Preprocessing, load_net, load_safetensors
from caffe_compat.errors import CaffeCompatError, ProblemsError
from caffe_compat.export import export
from tests.export.nets import CASES
from tests.records import difference
from tests.refusals import refused

pytest.importorskip(
    "safetensors", reason="the package safetensors is not installed: pip install 'caffe-compat[export]'"
)

REFUSED = {
    "infogain_blob": "InfogainLoss",
    "lstm": "LSTM",
    "rnn": "RNN",
}
"""Cases whose layer needs more than torch, and its type."""

NET = """name: "small"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [1, 3, 9, 9] } } }
layer { name: "conv1/3x3" type: "Convolution" bottom: "data" top: "conv1/3x3"
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv1/3x3" top: "conv1/3x3" }
layer { name: "pool" type: "Pooling" bottom: "conv1/3x3" top: "pool" pooling_param { pool: AVE kernel_size: 2 stride: 3 } }
layer { name: "lambda" type: "Slice" bottom: "pool" top: "a" top: "b" slice_param { slice_point: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "pool" bottom: "pool" top: "sum" eltwise_param { coeff: 1 coeff: -0.5 } } """


def run(file: Path):
    """Import a generated module."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # for dataclasses
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[file.stem]
    return module


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    return load_net(tmp_path / "net.prototxt", seed=1)


def test_the_code_reads_like_the_net(net, tmp_path):
    export(net, tmp_path / "small.py", "python")
    text = (tmp_path / "small.py").read_text()
    net_class = text[text.index("class Net(") : text.index("\n\ndef load(")]
    assert (
        net_class
        == '''class Net(nn.Module):
    """The definition's inputs are data of shape (1, 3, 9, 9)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1_3x3 = nn.Conv2d(3, 4, 3, stride=2)
        self.relu = nn.ReLU()
        self.pool = AvgPool(PoolingWindow(kernel=(2, 2), stride=(3, 3), pad=(0, 0), ceil=True))
        self.lambda_ = SliceModule(1, (1,), 2)
        self.sum = Sum((1.0, -0.5))

    def forward(self, data: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the outputs by blob."""
        conv1_3x3 = self.conv1_3x3(data)
        conv1_3x3 = self.relu(conv1_3x3)
        pool = self.pool(conv1_3x3)
        a, b = self.lambda_(pool)
        sum = self.sum(pool, pool)
        return {"a": a, "b": b, "sum": sum}
'''
    )
    data = torch.randn(3, 3, 9, 9)
    with torch.no_grad():
        tops, expected = run(tmp_path / "small.py").load()(data), net(data)
    assert all(torch.allclose(tops[blob], expected[blob], atol=1e-6) for blob in expected)
    assert torch.equal(load_safetensors(tmp_path / "small.safetensors")(data)["sum"], expected["sum"])


def test_with_preprocessing_the_module_takes_images(net, tmp_path):
    mean = np.random.default_rng(0).uniform(0, 99, (3, 11, 13)).astype(np.float32)
    net.meta["preprocessing"] = Preprocessing("BGR", None, (9, 9), 1.0, mean, 0.0078125)
    export(net, tmp_path / "small.py", "python", with_preprocessing=True)
    image = np.random.default_rng(1).integers(0, 256, (11, 13, 3), np.uint8)
    caffe = (image[:, :, ::-1].transpose(2, 0, 1) - mean)[:, 1:10, 2:11] * np.float32(0.0078125)
    with torch.no_grad():
        tops = run(tmp_path / "small.py").load()(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()))
        expected = net(torch.from_numpy(caffe[None].astype(np.float32)))
    assert all(torch.allclose(tops[blob], expected[blob], atol=1e-6) for blob in expected)
    assert load_safetensors(tmp_path / "small.safetensors").meta["preprocessing"].mean.tobytes() == mean.tobytes()


def test_the_file_must_be_importable(net, tmp_path):
    with refused("wrong-format", file=tmp_path / "small.txt"):
        export(net, tmp_path / "small.txt", "python")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Every recorded layer as Python source, as far as it can be written."""
    folder = tmp_path_factory.mktemp("layers")
    refusals = {}
    for case in CASES:
        net = load_net(case / "net.prototxt", case / "weights.caffemodel", losses=True)
        try:
            export(net, folder / f"{case.name}.py", "python")
        except CaffeCompatError as error:
            problems = error.problems if isinstance(error, ProblemsError) else (error,)
            refusals[case.name] = ", ".join(problem.value for problem in problems)
    return folder, refusals


@pytest.mark.slow
def test_every_layer_that_needs_torch_alone_is_written(written):
    assert written[1] == REFUSED


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.name not in REFUSED], ids=lambda case: case.name)
def test_a_layer_computes_what_caffe_does(case, written):
    net = run(written[0] / f"{case.name}.py").load()
    definition = load_net(case / "net.prototxt", case / "weights.caffemodel", losses=True)
    with np.load(case / "record.npz") as record, torch.no_grad():
        tops = net(*(torch.from_numpy(record[f"in/{blob}"]) for blob in definition.inputs))
        by_blob = tops if isinstance(tops, dict) else {definition.returns[0]: tops}
        for blob, top in by_blob.items():
            error = difference(blob, top.numpy(), record[f"out/{blob}"])
            assert error.relative <= 3e-6, str(error)


@pytest.mark.slow
def test_ruff_accepts_the_code(written):
    ruff = Path(sys.executable).with_name("ruff" + (".exe" if os.name == "nt" else ""))
    if not ruff.exists():
        pytest.skip(f"{ruff} is not installed")
    for arguments in (["check"], ["format", "--check", "--line-length=120"]):
        done = subprocess.run(
            [ruff, *arguments, "--isolated", "--no-cache", written[0]], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout
