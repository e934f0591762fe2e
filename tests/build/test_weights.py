"""Weights by layer name: what is copied, ignored, left, refused; and back to files bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat import load_net, read_weights
from caffe_compat.build.net import CaffeNet
from caffe_compat.build.weights import caffe_blobs, copy_weights, fits, save_weights, share_weights
from caffe_compat.errors import ProblemsError
from caffe_compat.formats.files import read_binary
from caffe_compat.formats.text import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from tests.refusals import refused

TEXT = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } bias_filler { type: "uniform" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 5 transpose: true weight_filler { type: "xavier" } } }
"""
SHAPES = {"conv": [(4, 3, 3, 3), (4,)], "bn": [(4,), (4,), (1,)], "fc": [(144, 5), (5,)]}


def _net(text: str = TEXT, **options: object) -> CaffeNet:
    return load_net(parse_text(text, pb.NetParameter), **options)


def _random() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(3)
    return {name: [rng.uniform(0.1, 1, s).astype("f4") for s in shapes] for name, shapes in SHAPES.items()}


@pytest.mark.parametrize(("fmt", "suffix"), [("BINARYPROTO", ".caffemodel"), ("HDF5", ".caffemodel.h5")])
def test_weights_go_to_a_file_and_back_bit_for_bit(tmp_path: Path, fmt: str, suffix: str) -> None:
    blobs = _random()
    file = tmp_path / f"w{suffix}"
    save_weights(_net(weights=blobs), file, fmt)
    found = read_weights(file)
    for layer, arrays in blobs.items():
        assert [a.tobytes() for a in arrays] == [b.tobytes() for b in found[layer]]
    again = _net(weights=file)
    assert [b.numpy().tobytes() for b in caffe_blobs(again)["fc"]] == [b.tobytes() for b in blobs["fc"]]


def test_a_caffemodel_holds_the_net_as_caffe_writes_it(tmp_path: Path) -> None:
    save_weights(_net(weights=_random()), tmp_path / "w.caffemodel")
    message, _ = read_binary(tmp_path / "w.caffemodel", pb.NetParameter)
    assert message.name == "small"
    assert [layer.name for layer in message.layer] == ["data", "conv", "bn", "relu", "fc"]
    assert all(layer.phase == pb.TEST and layer.HasField("phase") for layer in message.layer)
    assert [p.lr_mult for p in message.layer[2].param] == [0, 0, 0]
    assert not message.HasField("state")


def test_gradients_are_written_when_asked_for(tmp_path: Path) -> None:
    net = _net(weights=_random())
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    save_weights(net, tmp_path / "w.caffemodel", diffs=True)
    message, store = read_binary(tmp_path / "w.caffemodel", pb.NetParameter)
    grad = net.get_submodule("fc").weight.grad.t().numpy()
    assert np.array_equal(store.diff(message.layer[4].blobs[0]), grad)


def test_a_layer_the_net_does_not_have_is_ignored_and_reported() -> None:
    report = _net(weights={**_random(), "old": [np.zeros(3, "f4")]}).meta["report"]
    assert report.ignored == ("old",)
    assert "layers ignored: old" in str(report)
    assert report.left_at_filler == ()


@pytest.mark.parametrize(("fmt", "suffix"), [("BINARYPROTO", ".caffemodel"), ("HDF5", ".caffemodel.h5")])
def test_a_file_that_shares_no_layer_with_the_net_is_refused(tmp_path: Path, fmt: str, suffix: str) -> None:
    other = _net(TEXT.replace('name: "', 'name: "other_'), weights={f"other_{k}": v for k, v in _random().items()})
    file = tmp_path / f"w{suffix}"
    save_weights(other, file, fmt)
    with refused("mismatch", file=file.name, hint="definition"):
        _net(weights=file)
    assert copy_weights(_net(), file, unrelated="take").copied == ()
    assert copy_weights(_net(), file, rename={"other_fc": "fc"}).copied == ("fc.weight", "fc.bias")
    no_parameters = (
        TEXT.partition('layer { name: "conv"')[0] + 'layer { name: "r" type: "ReLU" bottom: "data" top: "y" }'
    )
    assert _net(no_parameters, weights=file).meta["report"].copied == ()


def test_every_layer_that_the_net_does_not_have_is_logged_as_caffe_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "w.caffemodel"
    save_weights(_net(TEXT + 'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }'), file)
    with caplog.at_level("INFO", logger="caffe_compat"):
        report = _net(TEXT.rpartition('layer { name: "fc"')[0], weights=file).meta["report"]
    assert [record.message for record in caplog.records] == ["Ignoring source layer fc", "Ignoring source layer prob"]
    assert report.ignored == ("fc",)


def test_what_the_file_lacks_is_left_at_its_filler_and_reported() -> None:
    blobs = _random()
    del blobs["fc"]
    report = _net(weights=blobs).meta["report"]
    assert report.left_at_filler == ("fc.weight", "fc.bias")
    assert report.copied == ("conv.weight", "conv.bias", "bn.mean", "bn.variance", "bn.factor")


def test_a_shape_that_does_not_fit_is_refused_with_both_shapes_and_nothing_is_copied() -> None:
    net = _net(seed=0)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    blobs = _random()
    blobs["fc"][0] = blobs["fc"][0].T.copy()
    with refused("shape-mismatch", layer="fc", field="blobs[0]") as caught:
        copy_weights(net, blobs)
    assert caught.value.problem == "weights have shape (5, 144), the net expects (144, 5)"
    blobs["conv"].pop()
    with pytest.raises(ProblemsError) as together:
        copy_weights(net, blobs)
    assert [(error.code, error.layer) for error in together.value.problems] == [
        ("wrong-count", "conv"),
        ("shape-mismatch", "fc"),
    ]
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("stored", "wanted", "fit"),
    [
        ((1, 1, 300, 6400), (300, 6400), True),
        ((1, 1, 1, 300), (300,), True),
        ((300, 6400), (300, 6400), True),
        ((1, 300, 6400), (300, 6400), False),
        ((300, 6400, 1, 1), (300, 6400), False),
        ((1, 1, 6400, 300), (300, 6400), False),
        ((1, 1, 1, 1), (), True),
    ],
)
def test_the_four_axes_of_old_caffe_fit_where_caffe_says_so(
    stored: tuple[int, ...], wanted: tuple[int, ...], fit: bool
) -> None:
    assert fits(stored, wanted) is fit


def test_old_shapes_load(tmp_path: Path) -> None:
    from caffe_compat.formats.blobs import BlobStore
    from caffe_compat.formats.files import write_binary

    blobs, store = _random(), BlobStore()
    message = pb.NetParameter(name="small")
    for name, arrays in blobs.items():
        layer = message.layer.add(name=name, type="InnerProduct")
        for array in arrays:
            store.attach(layer.blobs.add(), array, legacy_shape=True)
    write_binary(message, tmp_path / "old.caffemodel", store)
    net = _net(weights=tmp_path / "old.caffemodel")
    loaded = caffe_blobs(net)
    assert {name for name, arrays in loaded.items() if arrays} == set(blobs)
    for name, arrays in blobs.items():
        assert all(np.array_equal(a, b.numpy()) for a, b in zip(arrays, loaded[name], strict=True))


def test_shared_nets_have_the_very_same_tensors() -> None:
    train, test = _net(seed=0), _net(seed=1)
    share_weights(test, train)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(train(x), test(x))
    with torch.no_grad():
        train.get_submodule("fc").bias.add_(1)
        train.get_submodule("bn").factor.add_(1)
    assert torch.equal(train(x), test(x))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.caffemodel").write_bytes(pb.NetParameter(name="bare").SerializeToString())
    with refused("empty", file="empty.caffemodel"):
        read_weights(tmp_path / "empty.caffemodel")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with refused("name-unknown", field="fmt", value="ONNX"):
        save_weights(_net(), tmp_path / "x", "ONNX")
    assert not list(tmp_path.iterdir())


def test_a_renamed_layer_is_copied_under_the_nets_name() -> None:
    blobs = _random()
    blobs["old_fc"] = blobs.pop("fc")
    net = _net()
    report = copy_weights(net, blobs, rename={"old_fc": "fc"})
    assert report.renamed == (("old_fc", "fc"),)
    assert report.left_at_filler == report.ignored == ()
    assert np.array_equal(caffe_blobs(net)["fc"][0].numpy(), blobs["old_fc"][0])
    assert "renamed: old_fc to fc" in str(report)


def test_two_layers_may_change_names_and_one_may_be_left_out() -> None:
    blobs = {**_random(), "bn": [np.zeros(3, "f4")], "norm": _random()["bn"]}
    report = copy_weights(_net(), blobs, rename={"bn": "", "norm": "bn"})
    assert report.ignored == ("bn",)
    assert report.left_at_filler == ()


@pytest.mark.parametrize(
    ("rename", "code", "value", "hint"),
    [
        ({"conw": "fc"}, "name-unknown", "conw=fc", "'conv'"),
        ({"fc": "conw"}, "name-unknown", "fc=conw", "'conv'"),
        ({"fc": "conv"}, "conflict", "fc=conv", "conv="),
        ({"fc": "bn", "bn": "bn", "conv": ""}, "duplicate", "bn", ""),
    ],
)
def test_a_name_that_cannot_be_renamed_is_refused_before_anything_is_copied(rename, code, value, hint) -> None:
    net = _net(seed=1)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with refused(code, field="rename", value=value, hint=hint):
        copy_weights(net, _random(), rename=rename)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_blobs_of_another_shape_and_the_same_count_are_taken_only_when_asked_for() -> None:
    blobs = _random()
    flat = blobs["conv"][0].reshape(4, 27)
    changed = {**blobs, "conv": [flat, blobs["conv"][1]]}
    with refused("shape-mismatch", hint="reshape"):
        copy_weights(_net(), changed)
    with refused("shape-mismatch", layer="conv"):
        copy_weights(_net(), changed, reshape={"fc"})
    for allowed in (True, {"conv"}):
        net = _net()
        assert copy_weights(net, changed, reshape=allowed).reshaped == ("conv.weight",)
        assert np.array_equal(caffe_blobs(net)["conv"][0].numpy(), blobs["conv"][0])


def test_a_layer_that_does_not_fit_can_be_left_out_whole() -> None:
    blobs = _random()
    blobs["fc"] = [np.zeros((144, 7), "f4"), blobs["fc"][1]]
    blobs["bn"] = blobs["bn"][:2]
    net = _net(seed=1)
    before = net.get_submodule("fc").bias.clone()
    report = copy_weights(net, blobs, mismatched="skip")
    assert [(m.layer, m.problem) for m in report.mismatched] == [
        ("bn", "blobs: the weights have 2 blobs, the net expects 3"),
        ("fc", "blobs[0]: weights have shape (144, 7), the net expects (144, 5)"),
    ]
    assert report.copied == ("conv.weight", "conv.bias")
    assert torch.equal(before, net.get_submodule("fc").bias)
    assert set(report.left_at_filler) == {"bn.mean", "bn.variance", "bn.factor", "fc.weight", "fc.bias"}
