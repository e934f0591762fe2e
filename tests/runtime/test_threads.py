"""The number of threads of a pass: one where it is small, and one in a forked process, which must not hang."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import caffe_compat.pycaffe as caffe
from caffe_compat import load_net
from caffe_compat.formats.files import read_solver
from caffe_compat.runtime import threads
from caffe_compat.solver import Solver

ROOT = Path(__file__).resolve().parents[2]
NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 16 dim: 3 dim: 64 dim: 64 } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: 16 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "f" type: "InnerProduct" bottom: "c" top: "f"
  inner_product_param { num_output: 16 weight_filler { type: "xavier" } } }
"""
"""100 million multiply-accumulates, counting what reading and writing the blobs costs."""
SMALL = NET.replace("dim: 16 ", "dim: 1 ").replace("dim: 64 dim: 64", "dim: 20 dim: 20")
FED = """
layer { name: "d" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "list.txt" batch_size: 2 } }
layer { name: "f" type: "InnerProduct" bottom: "x" top: "f" inner_product_param { num_output: 1 } }
layer { name: "l" type: "EuclideanLoss" bottom: "f" bottom: "y" top: "l" }
"""
FORK = """
import multiprocessing, sys, torch
import caffe_compat.pycaffe as caffe
from caffe_compat import load_net
torch.set_num_threads(int(sys.argv[1]))
layerwise, module, x = caffe.Net("net.prototxt", caffe.TEST), load_net("net.prototxt"), torch.zeros(16, 3, 64, 64)
def run():
    layerwise.forward()
    layerwise.backward()
    module(x).sum().backward()
run()
child = multiprocessing.get_context("fork").Process(target=run)
child.start()
child.join(60)
print(child.exitcode)
if child.exitcode is None:
    child.kill()
"""


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def fed(tmp_path):
    """A net fed from two files of five rows, which are their numbers."""
    for number in range(2):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["x"] = np.arange(5, dtype=np.float32)[:, None] + 5 * number
            file["y"] = np.zeros((5, 1), np.float32)
    (tmp_path / "list.txt").write_text("0.h5\n1.h5\n")
    (tmp_path / "fed.prototxt").write_text(FED)
    return tmp_path / "fed.prototxt"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("count", [2, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 4))])
def test_a_process_forked_after_a_pass_runs_the_net_too(tmp_path, count):
    (tmp_path / "net.prototxt").write_text("force_backward: true\n" + NET)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, str(count)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_continues_at_its_parents_position_in_the_data(fed, tmp_path):
    code = """
import os, sys, signal
import caffe_compat.pycaffe as caffe
net = caffe.Net("fed.prototxt", caffe.TRAIN)
def rows(passes):
    return [int(x) for _ in range(passes) for x in (net.forward(), net.blobs["x"].data)[1].flatten()]
print(rows(2), flush=True)
child = os.fork()
signal.alarm(60)  # for the child, too
print(rows(6), flush=True)
if child == 0:
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    onwards = "[4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5]\n"
    assert (done.returncode, done.stdout) == (0, "[0, 1, 2, 3]\n" + 2 * onwards), done.stderr


def counts_of(net, shape):
    """The number of threads that the layers of a net see in a pass."""
    seen = []
    hooks = [module.register_forward_hook(lambda *_: seen.append(torch.get_num_threads())) for module in net.children()]
    net(torch.zeros(shape))
    for hook in hooks:
        hook.remove()
    return set(seen)


def test_small_passes_run_on_one_thread_and_larger_ones_on_all(tmp_path, two_threads):
    (tmp_path / "net.prototxt").write_text(NET)
    net = load_net(tmp_path / "net.prototxt")
    assert [counts_of(net, (batch, 3, 64, 64)) for batch in (1, 8, 16)] == [{1}, {1}, {2}]
    assert torch.get_num_threads() == 2


def test_the_number_set_by_the_user_is_never_exceeded(tmp_path, two_threads):
    torch.set_num_threads(1)
    (tmp_path / "net.prototxt").write_text(NET)
    assert counts_of(load_net(tmp_path / "net.prototxt"), (16, 3, 64, 64)) == {1}
    assert torch.get_num_threads() == 1


def test_threads_started_during_a_small_pass_use_all_cores(two_threads):
    seen = []
    with threads.threads_for(1):
        beside = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        beside.start()
        beside.join()
    assert seen == [2]


def test_an_error_in_a_small_pass_restores_the_number(tmp_path, two_threads):
    (tmp_path / "net.prototxt").write_text(SMALL)
    with pytest.raises(RuntimeError, match=r"channels|shape"):
        load_net(tmp_path / "net.prototxt")(torch.zeros(1, 2, 4, 4))
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("text", "count"), [(SMALL, 1), (NET, 2)])
def test_pycaffe_uses_as_many_threads(tmp_path, two_threads, text, count):
    (tmp_path / "net.prototxt").write_text("force_backward: true\n" + text)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    seen = []
    for register in (net.before_forward, net.after_forward, net.before_backward, net.after_backward):
        register(lambda _: seen.append(torch.get_num_threads()))
    net.forward()
    net.backward()
    assert set(seen) == {count}
    assert torch.get_num_threads() == 2


def test_reshaping_a_net_of_pycaffe_updates_its_threads(tmp_path, two_threads):
    (tmp_path / "net.prototxt").write_text(SMALL)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    seen = []
    net.after_forward(lambda _: seen.append(torch.get_num_threads()))
    net.blobs["x"].reshape(300, 3, 20, 20)
    net.forward()
    assert set(seen) == {2}


def test_a_small_net_is_trained_on_one_thread(fed, folder, two_threads):
    (folder / "solver.prototxt").write_text(
        'net: "fed.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 2 snapshot_after_train: false'
    )
    solver = Solver(read_solver(folder / "solver.prototxt"))
    seen = []
    solver.net.f.weight.register_hook(lambda _: seen.append(torch.get_num_threads()))
    solver.step(2)
    assert seen == [1, 1]
    assert torch.get_num_threads() == 2


def test_the_net_that_torch_exports_is_the_same(tmp_path, two_threads):
    (tmp_path / "net.prototxt").write_text(SMALL)
    net, x = load_net(tmp_path / "net.prototxt"), torch.randn(1, 3, 20, 20)
    assert torch.equal(torch.export.export(net, (x,)).module()(x), net(x))
    assert torch.equal(torch.compile(net, backend="eager", fullgraph=True)(x), net(x))


@pytest.mark.parametrize(
    ("given", "spins"), [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")]
)
def test_waiting_threads_yield_their_cores_unless_the_user_sets_otherwise(given, spins):
    environment = {
        name: value for name, value in os.environ.items() if name not in {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    }
    environment |= {"PYTHONPATH": str(ROOT)} | given
    code = "import os, sys, caffe_compat; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{spins} False\n"
