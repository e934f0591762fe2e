"""The network that blobs are for; and if none, their differences from the nearest."""

from dataclasses import replace

import numpy as np
import pytest

from caffe_compat.errors import CaffeCompatError, ProblemsError
from lq_emotion.nets.cnn_d import cnn_d
from lq_emotion.nets.names import Net
from lq_emotion.nets.sr_fcn import sr_fcn
from lq_emotion.nets.switches import AS_CODE
from lq_emotion.verify.networks import networks, recognise, redefined, training
from lq_emotion.verify.weights import LoadedWeights

CNN_D = {"conv1": [(64, 1, 5, 5), (64,)], "conv2": [(128, 64, 5, 5), (128,)], "conv3": [(256, 128, 5, 5), (256,)], "fc4": [(300, 6400), (300,)], "fc5": [(1, 300), (1,)]}  # fmt: skip
SR_FCN = {**{name: CNN_D[name] for name in ("conv1", "conv2", "conv3")}, "conv4": [(1, 256, 5, 5), (1,)]}


def weights(tmp_path, shapes, message=None):
    layers = {layer: [np.zeros(shape, np.float32) for shape in each] for layer, each in shapes.items()}
    return LoadedWeights("a.caffemodel", tmp_path / "a.caffemodel", "caffemodel", layers, message)


def differences(tmp_path, shapes):
    with pytest.raises(CaffeCompatError) as caught:
        recognise(weights(tmp_path, shapes))
    error = caught.value
    return [str(problem) for problem in (error.problems if isinstance(error, ProblemsError) else (error,))]


def test_the_authors_two_networks_are_told_apart_from_each_other_and_from_the_papers(tmp_path):
    assert recognise(weights(tmp_path, CNN_D)).name == "CNN+D"
    assert recognise(weights(tmp_path, SR_FCN)).name == "SR-FCN"
    regressor = {"fc4": [(299, 6400), (299,)], "fc5": [(1, 299), (1,)]}
    assert recognise(weights(tmp_path, {**SR_FCN, **regressor})).name == "Non-Joint of the paper"
    unbiased = {name: blobs[:1] if name.startswith("conv") else blobs for name, blobs in CNN_D.items()}
    assert recognise(weights(tmp_path, {**unbiased, "fc4": [(300, 1024), (300,)]})).name == "CNN+D of the paper"


def test_no_two_networks_have_the_same_blobs():
    shapes = [tuple(sorted(network.shapes.items())) for network in networks()]
    assert len(set(shapes)) == len(shapes)
    assert [network.name for network in networks() if network.authors] == ["CNN+D", "SR-FCN"]


def test_four_axes_with_ones_in_front_stand_for_fewer(tmp_path):
    old = {layer: [(1,) * (4 - len(shape)) + shape for shape in each] for layer, each in CNN_D.items()}
    assert recognise(weights(tmp_path, old)).name == "CNN+D"


def test_every_difference_from_the_nearest_network_is_told(tmp_path):
    shapes = {**CNN_D, "fc4": [(300, 6400), (200,)], "head": [(1, 7)]}
    shapes["konv1"] = shapes.pop("conv1")
    del shapes["fc5"]
    assert sorted(differences(tmp_path, shapes)) == [
        "a.caffemodel: layer 'fc4': blobs[1]: weights have shape (200,), the net expects (300,) (compared with CNN+D, the nearest network)",
        "a.caffemodel: layer 'fc5': is not in the file; CNN+D, the nearest network, has it (blobs (1, 300) and (1,))",
        "a.caffemodel: layer 'head': CNN+D, the nearest network, has no layer of this name",
        "a.caffemodel: layer 'konv1': CNN+D, the nearest network, has no layer of this name (did you mean 'conv1'? its blobs have these shapes)",
    ]


def test_a_layer_of_another_name_and_other_shapes_is_guessed_by_its_name(tmp_path):
    shapes = {**SR_FCN, "Conv4": [(1, 256, 3, 3), (1,)]}
    del shapes["conv4"]
    assert (
        "layer 'Conv4': SR-FCN, the nearest network, has no layer of this name (did you mean 'conv4'?)"
        in differences(tmp_path, shapes)[0]
    )


def test_the_rates_of_learning_tell_the_method(tmp_path):
    for net, method in ((Net.SCRATCH, "HR or LR"), (Net.JOINT, "Joint"), (Net.NON_JOINT, "Non-Joint")):
        message = cnn_d(net)
        assert training(weights(tmp_path, CNN_D, message)) == method
        assert redefined(weights(tmp_path, CNN_D, message), recognise(weights(tmp_path, CNN_D))) == []
    message.layer[2].param[0].lr_mult = 0.5
    assert training(weights(tmp_path, CNN_D, message)) is None
    assert training(weights(tmp_path, CNN_D)) is None


def test_another_computation_with_the_same_blobs_is_told(tmp_path):
    network = recognise(weights(tmp_path, SR_FCN))
    message = sr_fcn(switches=replace(AS_CODE, convolutions="padded"))  # the same blobs
    differing = [str(problem) for problem in redefined(weights(tmp_path, SR_FCN, message), network)]
    assert differing[0] == "a.caffemodel: layer 'conv1': pad = (2, 2): recorded in this file, but SR-FCN has (0, 0)"
    assert len(differing) == 4
    message = sr_fcn()
    assert redefined(weights(tmp_path, SR_FCN, message), network) == []
    del message.layer[3]
    message.layer.add(name="top", type="TanH", bottom=["conv4"], top=["conv4"])
    assert sorted(str(problem) for problem in redefined(weights(tmp_path, SR_FCN, message), network)) == [
        "a.caffemodel: layer 'relu1': the net that wrote this file has no such layer; SR-FCN has, ReLU",
        "a.caffemodel: layer 'top': the net that wrote this file computes TanH here; SR-FCN has no such layer",
    ]
