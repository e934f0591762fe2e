"""debug_info: the lines Caffe's net writes layer by layer (facts of net.cpp), from both kinds of net a solver trains."""

import io
import re

import h5py
import numpy as np
import pytest

from caffe_compat.formats.files import parse_text
from caffe_compat.pycaffe.solver import SolverLoop
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import CaffeLog, Solver
from caffe_compat.solver.log import number
from tests.solver.case import SOLVER

NET = """
name: "debugged"
layer { name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "train.txt" batch_size: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "h" param { name: "w" } param { lr_mult: 0 }
  inner_product_param { num_output: 1 weight_filler { value: 0.5 } bias_filler { value: -0.25 } } }
layer { name: "relu" type: "ReLU" bottom: "h" top: "h" }
layer { name: "twice" type: "Eltwise" bottom: "h" bottom: "h" top: "s" eltwise_param { coeff: 1 coeff: -3 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "s" bottom: "label" }
"""


@pytest.fixture
def folder(case):
    (case / "net.prototxt").write_text(NET)
    return case


def lines(iterations=1, kind=Solver, **fields):
    """The log of a run, without the stamps: severity, place and text."""
    message = parse_text(SOLVER + "debug_info: true", pb.SolverParameter)
    message.ClearField("test_iter")
    message.ClearField("test_interval")
    for name, value in {"snapshot": 0, "display": 1, **fields}.items():
        getattr(message, name).extend(value) if isinstance(value, list) else setattr(message, name, value)
    stream = io.StringIO()
    solver = kind(message, log=CaffeLog(stream))
    solver.step(iterations)
    found = re.findall(r"^([IE])\d{4} [\d:.]+ +\d+ (\S+:\d+)\] (.*)$", stream.getvalue(), re.MULTILINE)
    return [line for line in found if line[1].startswith("net.cpp") and "[" in line[2]], solver


def test_each_layers_tops_parameters_and_gradients_are_written_as_caffe_writes_them(folder):
    with h5py.File(folder / "train.h5") as file:
        x, t = (np.asarray(file[name][:2], np.float64) for name in ("data", "label"))
    h = x @ np.full((x.shape[1], 1), 0.5) - 0.25
    r = np.maximum(h, 0)
    s = -2 * r
    loss = ((s - t) ** 2).sum() / 4
    ds = (s - t) / 2
    dh = -2 * ds * (h > 0)
    dw = (dh * x).sum(0)
    m = lambda value: number(float(np.abs(value).mean()))  # noqa: E731
    split = "h_relu_0_split"
    weights = [0.5] * x.shape[1]
    norms = np.abs(weights).sum() + 0.25, (np.square(weights).sum() + 0.0625) ** 0.5
    pair = "({}, {})".format
    first, second = (
        pair(number(norms[0]), number(np.abs(dw).sum())),
        pair(number(norms[1]), number((dw**2).sum() ** 0.5)),
    )
    told = f"L1 norm = {first}; L2 norm = {second}"
    wanted = [
        f"I net.cpp:593     [Forward] Layer data, top blob data data: {m(x)}",
        f"I net.cpp:593     [Forward] Layer data, top blob label data: {m(t)}",
        f"I net.cpp:593     [Forward] Layer ip, top blob h data: {m(h)}",
        "I net.cpp:605     [Forward] Layer ip, param blob w data: 0.5",
        "I net.cpp:605     [Forward] Layer ip, param blob 1 data: 0.25",
        f"I net.cpp:593     [Forward] Layer relu, top blob h data: {m(r)}",
        f"I net.cpp:593     [Forward] Layer {split}, top blob {split}_0 data: {m(r)}",
        f"I net.cpp:593     [Forward] Layer {split}, top blob {split}_1 data: {m(r)}",
        f"I net.cpp:593     [Forward] Layer twice, top blob s data: {m(s)}",
        f"I net.cpp:593     [Forward] Layer loss, top blob (automatic) data: {number(loss)}",
        f"I net.cpp:621     [Backward] Layer loss, bottom blob s diff: {m(ds)}",
        f"I net.cpp:621     [Backward] Layer twice, bottom blob {split}_0 diff: {m(ds)}",
        f"I net.cpp:621     [Backward] Layer twice, bottom blob {split}_1 diff: {m(3 * ds)}",
        f"I net.cpp:621     [Backward] Layer {split}, bottom blob h diff: {m(2 * ds)}",
        f"I net.cpp:621     [Backward] Layer relu, bottom blob h diff: {m(dh)}",
        f"I net.cpp:632     [Backward] Layer ip, param blob 0 diff: {m(dw)}",
        f"E net.cpp:721     [Backward] All net params (data, diff): {told}",
    ]
    found, _ = lines()
    assert [" ".join(line) for line in found] == wanted


def numbers(found):
    """Lines with their numbers taken out, and the numbers."""
    pattern = re.compile(r"(?<=[ (])-?\d+\.?\d*(?:e-?\d+)?(?=$|[,)])")
    values = [float(n) for _, _, text in found for n in pattern.findall(text)]
    return [(a, b, pattern.sub("N", c)) for a, b, c in found], values


def test_a_net_of_pycaffe_writes_the_same(folder):
    (first, ours), (second, theirs) = (numbers(lines(3, kind)[0]) for kind in (Solver, SolverLoop))
    assert first == second
    assert len(ours) > 50
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-7)


def test_lines_come_only_where_the_iteration_is_displayed(folder):
    once, _ = lines(4, display=4)
    every, _ = lines(4, display=1)
    assert len(every) == 4 * len(once) > 0
    assert lines(4, display=0)[0] == []


def test_every_pass_of_an_iteration_is_written(folder):
    assert len(lines(1, iter_size=3)[0]) == 3 * len(lines(1)[0])


def test_training_goes_on_as_without_it(folder):
    _, watched = lines(5)
    message = parse_text(SOLVER, pb.SolverParameter)
    message.ClearField("test_iter")
    message.ClearField("test_interval")
    message.snapshot = 0
    plain = Solver(message)
    plain.step(5)
    weights = plain.net.state_dict()
    assert weights
    for name, value in weights.items():
        np.testing.assert_allclose(watched.net.state_dict()[name], value, rtol=1e-6)


def test_a_test_net_writes_its_forward_pass_each_time(folder):
    found, _ = lines(1, test_iter=[2], test_interval=10, display=0)
    assert {text.split("]")[0].strip() for _, _, text in found} == {"[Forward"}
    assert sum("Layer loss" in text for _, _, text in found) == 2
