"""Weights are recognised by the names of layers and the shapes of blobs."""

import pytest

from caffe_compat.build.net import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.formats.files import parse_text, read_binary, read_net, write_binary
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion import prototxt
from lq_emotion.nets.cnn_d import cnn_d_deploy
from lq_emotion.nets.known.recognition import recognise
from tests.refusals import refused

from .conftest import PUBLISHED

DET2 = prototxt.path("known/det2.prototxt")


@pytest.mark.parametrize(("model", "part"), PUBLISHED)
def test_published_weights_are_recognised(model, part, published):
    file = PUBLISHED[model, part].replace("deploy", "weights")
    recognition = recognise(published / f"{file}.caffemodel")
    assert (recognition.model.name, recognition.part.name) == (model, part)


@pytest.mark.parametrize(("suffix", "fmt"), [(".caffemodel", "BINARYPROTO"), (".caffemodel.h5", "HDF5")])
def test_weights_are_recognised_under_any_name_and_in_both_formats(suffix, fmt, tmp_path):
    path = tmp_path / f"anything{suffix}"
    save_weights(load_net(prototxt.path("known/mini-xception.prototxt")), path, fmt)
    assert recognise(path).same == ("mini-xception",)


@pytest.mark.parametrize(
    ("file", "model"), [("HQ", "HR"), ("vlqr_12", "Joint"), ("non_joint_4", "Non-Joint"), ("joint_oa", "Joint-OA")]
)
def test_the_authors_nets_are_told_apart_by_the_files_name(file, model, tmp_path):
    save_weights(load_net(cnn_d_deploy()), tmp_path / f"{file}.caffemodel")
    recognition = recognise(tmp_path / f"{file}.caffemodel")
    assert recognition.same[0] == recognition.model.name == model
    assert sorted(recognition.same) == ["HR", "Joint", "Joint-OA", "LR", "Non-Joint"]


def test_a_layer_of_another_shape_is_not_recognised(tmp_path):
    net = read_net(DET2)
    next(layer for layer in net.layer if layer.name == "conv4").inner_product_param.num_output = 127
    save_weights(load_net(net), tmp_path / "det2.caffemodel")
    assert recognise(tmp_path / "det2.caffemodel") is None


def test_blobs_of_four_axes_as_old_caffe_wrote_them_are_recognised(tmp_path):
    save_weights(load_net(DET2), tmp_path / "new.caffemodel")
    message, store = read_binary(tmp_path / "new.caffemodel", pb.NetParameter)
    for layer in message.layer:
        for blob in layer.blobs:
            shape = [1] * (4 - len(blob.shape.dim)) + list(blob.shape.dim)
            blob.ClearField("shape")
            blob.num, blob.channels, blob.height, blob.width = shape
    write_binary(message, tmp_path / "old.caffemodel", store)
    assert recognise(tmp_path / "old.caffemodel").part.name == "det2"


def test_a_file_without_weights_is_refused(tmp_path):
    write_binary(parse_text('layer { name: "a" type: "ReLU" }', pb.NetParameter), tmp_path / "a.caffemodel")
    with refused("empty"):
        recognise(tmp_path / "a.caffemodel")
