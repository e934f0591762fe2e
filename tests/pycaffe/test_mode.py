"""Settings of the whole process: log, GPU, seed, solver count, timer."""

import numpy as np
import pytest
import torch

import caffe_compat.pycaffe as caffe
from caffe_compat.schema import caffe_pb2 as pb
from tests.refusals import refused


def test_the_log_goes_to_stderr_in_caffes_form_and_can_be_silenced(capsys, monkeypatch):
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    caffe.log("hello")
    assert capsys.readouterr().err.rstrip().endswith("] hello")
    monkeypatch.setenv("GLOG_minloglevel", "1")
    caffe.log("hello")
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("GLOG_minloglevel")
    try:
        caffe.init_log(2, True)
        caffe.log("hello")
        assert capsys.readouterr().err == ""
    finally:
        caffe.init_log(0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_does_not_exist_is_refused():
    with refused("out-of-range", field="device", value=0, hint="torch found 0 GPUs; call set_mode_cpu()"):
        caffe.set_mode_gpu()


def test_a_gpu_with_a_negative_number_is_refused():
    with refused("out-of-range", field="device", value=-1):
        caffe.set_device(-1)


def test_nccl_is_refused_with_an_alternative():
    assert not caffe.has_nccl()
    with refused("unsupported", hint="torchrun"):
        caffe.NCCL(None, "")


def test_fillers_follow_the_random_seed(tmp_path):
    (tmp_path / "n.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }'
    )
    weights = []
    for seed in (1, 1, 2):
        caffe.set_random_seed(seed)
        weights.append(caffe.Net(str(tmp_path / "n.prototxt"), caffe.TEST).params["ip"][0].data.copy())
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()


def test_scripts_can_import_the_messages():
    from caffe_compat.pycaffe.proto import caffe_pb2

    assert caffe_pb2 is pb
    assert caffe_pb2.NetParameter().layer.add(type="ReLU").type == "ReLU"
    assert (caffe.TRAIN, caffe.TEST) == (0, 1)


def test_every_layer_type_of_caffe_is_listed():
    assert {"Convolution", "InnerProduct", "Data", "Python", "Input"} <= set(caffe.layer_type_list())


def test_the_timer_counts_milliseconds():
    timer = caffe.Timer()
    timer.start()
    timer.stop()
    assert 0 <= timer.ms < 1000


def test_scripts_can_store_solver_count_and_rank():
    assert (caffe.solver_count(), caffe.solver_rank()) == (1, 0)
    caffe.set_solver_count(2)
    caffe.set_solver_rank(1)
    try:
        assert (caffe.solver_count(), caffe.solver_rank()) == (2, 1)
    finally:
        caffe.set_solver_count(1)
        caffe.set_solver_rank(0)


def test_the_data_layers_of_a_process_draw_from_one_stream_as_in_caffe(folder):
    import h5py

    with h5py.File("a.h5", "w") as file:
        file["x"] = np.arange(8, dtype="f4").reshape(8, 1)
    (folder / "list.txt").write_text("a.h5\n")
    (folder / "n.prototxt").write_text(
        'layer { name: "d" type: "HDF5Data" top: "x" hdf5_data_param { source: "list.txt" batch_size: 8 shuffle: true } }'
    )
    orders = [caffe.Net("n.prototxt", caffe.TRAIN).forward()["x"].ravel().tolist() for _ in range(3)]
    assert sorted(orders[0]) == list(range(8))
    assert len({tuple(order) for order in orders}) > 1
