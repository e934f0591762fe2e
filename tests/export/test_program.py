"""Exported programs, run by torch alone, against what genuine Caffe computed."""

import numpy as np
import pytest
import torch

from caffe_compat import Preprocessing, load_net
from caffe_compat.export import export
from tests.export.nets import CASES
from tests.records import difference
from tests.refusals import refused

FCN = """layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [1, 3, 12, 12] } } }
layer { name: "a/b" type: "Convolution" bottom: "data" top: "a/b" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "p" type: "Pooling" bottom: "a/b" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "c" type: "Convolution" bottom: "p" top: "c" convolution_param { num_output: 2 kernel_size: 5 } } """
FILLERS = 'convolution_param { weight_filler { type: "gaussian" std: 0.1 } bias_filler { type: "constant" value: 0.5 }'


@pytest.fixture(scope="module")
def fcn(tmp_path_factory):
    file = tmp_path_factory.mktemp("fcn") / "net.prototxt"
    file.write_text(FCN.replace("convolution_param {", FILLERS))
    return file


def test_batch_height_and_width_of_a_fully_convolutional_net_are_free(fcn, tmp_path):
    net = load_net(fcn, seed=1)
    export(net, tmp_path / "net.pt2", "pt2")
    run = torch.export.load(tmp_path / "net.pt2").module()
    for shape in ((1, 3, 12, 12), (2, 3, 13, 40), (5, 3, 101, 64)):
        data = torch.randn(shape)
        assert torch.allclose(run(data), net(data), atol=1e-6)


def test_the_definition_and_the_preprocessing_go_along(fcn, tmp_path):
    net = load_net(fcn, seed=1)
    net.meta["preprocessing"] = Preprocessing(mean=np.array([1, 2, 3], np.float32))
    export(net, tmp_path / "net.pt2", "pt2")
    texts = {"definition.prototxt": "", "preprocessing.json": ""}
    torch.export.load(tmp_path / "net.pt2", extra_files=texts)
    assert 'name: "a/b"' in texts["definition.prototxt"]
    assert '"mean": [\n  1.0,' in texts["preprocessing.json"]


def test_with_preprocessing_a_program_takes_images(fcn, tmp_path):
    net = load_net(fcn, seed=1)
    preprocessing = Preprocessing("BGR", (20, 30), (12, 12), 0.5, np.array([10, 20, 30], np.float32), 0.25)
    net.meta["preprocessing"] = preprocessing
    export(net, tmp_path / "net.pt2", "pt2", with_preprocessing=True)
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    images = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
    top = torch.export.load(tmp_path / "net.pt2").module()(images).detach().numpy()
    caffe = ((image[:, :, ::-1] * np.float32(0.5) - [10, 20, 30]) * 0.25)[4:16, 9:21].astype(np.float32)
    expected = net(torch.from_numpy(caffe.transpose(2, 0, 1)[None].copy())).detach().numpy()
    assert np.abs(top - expected).max() <= 3e-6 * np.abs(expected).max()


def test_images_of_any_size_are_cropped(fcn, tmp_path):
    net = load_net(fcn, seed=1)
    net.meta["preprocessing"] = Preprocessing("RGB", None, (12, 12))
    export(net, tmp_path / "net.pt2", "pt2", with_preprocessing=True)
    run, image = torch.export.load(tmp_path / "net.pt2").module(), torch.randn(2, 3, 31, 17)
    assert torch.allclose(run(image), net(image[:, :, 9:21, 2:14]), atol=1e-6)
    assert torch.allclose(run(image[:1, :, 9:21, 2:14]), net(image[:1, :, 9:21, 2:14]), atol=1e-6)


def test_nets_in_caffes_order_of_summation_need_this_package(fcn, tmp_path):
    with refused("several") as caught:
        export(load_net(fcn, seed=1, exact=True), tmp_path / "net.pt2", "pt2")
    assert [(e.code, e.layer) for e in caught.value.problems] == [("unsupported", "a/b"), ("unsupported", "c")]


def test_a_blob_shared_in_two_shapes_is_exported(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        """layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [2, 4] } } }
        layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" }
          inner_product_param { num_output: 2 bias_term: false weight_filler { type: "gaussian" } } }
        layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" share_mode: PERMISSIVE }
          inner_product_param { num_output: 4 bias_term: false } }"""
    )
    net, data = load_net(tmp_path / "net.prototxt", seed=1), torch.randn(3, 4)
    export(net, tmp_path / "net.pt2", "pt2")
    assert torch.equal(torch.export.load(tmp_path / "net.pt2").module()(data), net(data))
    with refused("unsupported", layer="b", field="type"):
        export(net, tmp_path / "net.py", "python")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_layer_computes_what_caffe_does(case, tmp_path):
    net = load_net(case / "net.prototxt", case / "weights.caffemodel", losses=True)
    export(net, tmp_path / "net.pt2", "pt2")
    with np.load(case / "record.npz") as record, torch.no_grad():
        run = torch.export.load(tmp_path / "net.pt2").module()
        tops = run(*(torch.from_numpy(record[f"in/{blob}"]) for blob in net.inputs))
        for blob, top in (tops if isinstance(tops, dict) else {net.returns[0]: tops}).items():
            error = difference(blob, top.numpy(), record[f"out/{blob}"])
            assert error.relative <= 3e-6, str(error)
