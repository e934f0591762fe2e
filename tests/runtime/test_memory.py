"""Freed memory is kept for the process that asks, and only reading files needs no torch."""

import subprocess
import sys

import pytest

from tests.refusals import refused

FAULTS = """
import resource, torch
from caffe_compat import keep_freed_memory
x, weight = torch.rand(20, 1, 96, 96), torch.rand(64, 1, 5, 5)
def faults():
    for _ in range(4):
        torch.conv2d(x, weight).relu()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.conv2d(x, weight).relu()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
returned = faults()
assert keep_freed_memory() and keep_freed_memory()
print(faults(), returned)
"""


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is meant")
def test_keeping_freed_memory_avoids_page_faults_of_the_next_blobs() -> None:
    kept, returned = map(int, _python(FAULTS).split())
    assert kept < returned / 10
    assert returned >= 4 * 41  # passes over two blobs of 41 MiB, in pages of 2 MiB at the largest


def test_importing_the_package_its_files_and_its_commands_imports_no_torch() -> None:
    modules = "caffe_compat.formats.files, caffe_compat.definition.upgrade, caffe_compat.cli.upgrade"
    code = f"import sys, caffe_compat, {modules}; print('torch' in sys.modules)"
    assert _python(code) == "False\n"


def test_a_pass_of_a_deploy_net_imports_only_what_it_needs() -> None:
    code = """
import sys, torch
before = set(sys.modules)
import caffe_compat
from lq_emotion.prototxt import path
net = caffe_compat.load_net(path("matlabscripts/recon/deploy/model_1F_CNN+D.prototxt"))
with torch.inference_mode():
    assert net(torch.zeros(1, 1, 96, 96)).shape == (1, 1)
others = "cv2 h5py scipy matplotlib numba PIL onnx safetensors skimage torch._dynamo sympy caffe_compat.data caffe_compat.export"
print(sorted(set(others.split()) & (set(sys.modules) - before)), "caffe_compat.build.net" in sys.modules)
"""
    assert _python(code) == "[] True\n"


def test_every_public_name_can_be_imported() -> None:
    code = "import caffe_compat as c; print(all(getattr(c, name) is not None for name in c.__all__))"
    assert _python(code) == "True\n"


def test_parameters_larger_than_the_machines_memory_are_refused_first(monkeypatch) -> None:
    from caffe_compat.build import net as nets
    from caffe_compat.formats.files import parse_text
    from caffe_compat.schema import caffe_pb2 as pb

    text = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 1024 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1024 } }"""
    message = parse_text(text, pb.NetParameter)
    monkeypatch.setattr(nets, "physical_memory", lambda: 4 * 1025 * 1024 - 1)
    with refused("too-large", layer="ip", field="blobs[0]", value=(1024, 1024)):
        nets.load_net(message)
    monkeypatch.setattr(nets, "physical_memory", lambda: 4 * 1025 * 1024)
    assert nets.load_net(message).caffe.parameter_count() == 1025 * 1024
