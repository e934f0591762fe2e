"""The type of a layer where forks use one name, or one number, for several: the named fork's, or the only one possible."""

import numpy as np
import pytest
import torch

from caffe_compat.build.net import load_net
from caffe_compat.build.weights import read_weights
from caffe_compat.definition.forks import FORKS, name_numbered_fields
from caffe_compat.definition.prepare import prepare
from caffe_compat.formats.extras import all_unknown_fields
from caffe_compat.formats.files import BlobStore, read_binary, write_binary
from caffe_compat.formats.text import format_text, parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.schema import forks_pb2 as fb
from tests.layers.agreement import single
from tests.nets import build_graph, build_net
from tests.refusals import refused

MAP = [(2, 4, 6, 6)]


def chosen(type_, body="", shapes=MAP, fork=None):
    """The fork of the layer that a text is taken to be."""
    return build_graph(single(type_, shapes, body), fork=fork).nodes[-1].spec.fork


@pytest.mark.parametrize(
    ("type_", "body", "fork"),
    [
        ("Normalize", "norm_param { eps: 1 }", "ssd"),
        ("Normalize", "normalize_param { }", "happynear"),
        ("BN", "bn_param { frozen: true }", "pspnet"),
        ("BN", "bn_param { scale_filler { value: 1 } }", "segnet"),
        ("Upsample", "upsample_param { scale: 2 }", "yolov3"),
        ("Pooling", "pooling_param { kernel_size: 2 ceil_mode: false }", "pr3057"),
        ("Pooling", "pooling_param { kernel_size: 2 }", ""),
        ("Dropout", "dropout_param { sample_weights_test: true }", "segnet"),
        ("Dropout", "dropout_param { scale_train: true }", "fast-rcnn"),
        ("Dropout", "", ""),
    ],
)
def test_the_only_type_that_has_the_layers_fields_is_taken(type_, body, fork):
    assert chosen(type_, body) == fork


def test_the_only_type_that_takes_as_many_bottoms_is_taken():
    assert chosen("Upsample", "upsample_param { scale: 2 }", MAP * 2) == "segnet"


@pytest.mark.parametrize(
    ("type_", "body", "forks"),
    [
        ("Normalize", "", "ssd, happynear"),
        ("BN", "", "pspnet, yjxiong, happynear, segnet"),
        ("BN", "bn_param { }", "pspnet, yjxiong, happynear, segnet"),
    ],
)
def test_where_several_are_possible_they_are_named_and_none_is_taken(type_, body, forks):
    with refused("ambiguous", file="net.prototxt", line=2, layer="l", field="type", value=type_, hint=forks):
        chosen(type_, body)


@pytest.mark.parametrize("fork", ["pspnet", "yjxiong", "happynear", "segnet"])
def test_the_fork_that_is_named_is_taken(fork):
    assert chosen("BN", fork=fork) == fork


def test_several_forks_may_be_named_and_those_that_do_not_matter_do_no_harm():
    assert chosen("BN", fork=("ssd", "segnet")) == "segnet"
    assert chosen("Axpy", "", [(2, 4), (2, 4, 3), (2, 4, 3)], fork="ssd") == "senet"
    assert chosen("ReLU", fork="ssd") == ""


def test_blobs_have_the_shape_of_the_fork_that_is_named():
    text = single("BN", MAP, "bn_param { frozen: true }")
    shapes = [build_graph(text, fork=f).slots[0].blob.shape for f in (None, "yjxiong")]
    assert shapes == [(1, 4, 1, 1), (1, 4)]


def test_an_unknown_fork_is_refused():
    with refused("name-unknown", field="fork", value="sdd", hint="'ssd'"):
        chosen("ReLU", fork="sdd")


@pytest.mark.parametrize(
    ("type_", "body", "code", "field", "hint"),
    [
        ("Normalize", "norm_param { across_spatail: true }", "field-unknown", "norm_param.across_spatail", "did you mean 'across_spatial'?"),
        ("Normalize", "norm_pram { }", "field-unknown", "norm_pram", "did you mean 'norm_param'?"),
        ("Normalize", "norm_param { scale_filler { typ: 'x' } }", "field-unknown", "norm_param.scale_filler.typ", "did you mean 'type'?"),
        ("Normalize", "norm_param { eps: x }", "syntax", "norm_param.eps", ""),
        ("BN", "bn_param { frozen: true bn_mode: LEARN }", "field-unknown", "bn_param.bn_mode", ""),
        ("DetectionOutput", "detection_output_param { code_type: CENTRE }", "name-unknown", "detection_output_param.code_type", ""),
        ("ReLU", "norm_param { }", "field-unknown", "norm_param", "ssd has it, but not for a ReLU layer"),
        ("Pooling", "pooling_param { kernel_size: 2 ceil_moode: true }", "field-unknown", "ceil_moode", "did you mean 'ceil_mode'?"),
        ("Normalise", "", "type-unknown", "type", "did you mean 'Normalize', of the fork ssd or happynear?"),
        ("Relu", "", "type-unknown", "type", "did you mean 'ReLU'?"),
        ("DenseCRF", "", "unsupported", "type", ""),
    ],
)  # fmt: skip
def test_a_field_or_type_that_no_fork_has_is_refused_with_what_was_meant(type_, body, code, field, hint):
    with refused(code, file="net.prototxt", line=2, layer="l", field=field, hint=hint):
        chosen(type_, body)


# Binary files


def binary(tmp_path, *layers, blobs=()):
    """A caffemodel of layers given as (LayerParameter, message of the fork's fields)."""
    net, store = pb.NetParameter(name="n"), BlobStore()
    for layer, added in layers:
        part = net.layer.add()
        part.CopyFrom(layer)
        for values in blobs:
            store.attach(part.blobs.add(), np.asarray(values, "f4"))
        if added is not None:
            part.MergeFromString(added.SerializeToString())
    write_binary(net, tmp_path / "net.caffemodel", store)
    return tmp_path / "net.caffemodel"


INPUT = pb.LayerParameter(name="in", type="Input", top=["x"])
INPUT.input_param.shape.add(dim=[1, 4, 3, 3])


def layer(type_, bottoms=("x",)):
    return pb.LayerParameter(name="l", type=type_, bottom=bottoms, top=["y"])


def test_weights_load_without_a_word_about_the_fork(tmp_path):
    added = fb.PSPNetLayer()  # 143 is Caffe's input_param, 152 nothing
    added.interp_param.height = 3
    added.bn_param.frozen = True
    scale = np.arange(4, dtype="f4").reshape(1, 4, 1, 1)
    path = binary(tmp_path, (layer("BN"), added), blobs=[scale] * 4)
    assert all(np.array_equal(blob, scale) for blob in read_weights(path)["l"])
    net = load_net(parse_text(single("BN", [(1, 4, 3, 3)]), pb.NetParameter), path, fork="pspnet")
    assert len(net.meta["report"].copied) == 4


def test_a_field_known_by_its_number_only_is_refused_and_the_forks_are_named(tmp_path):
    added = fb.SSDLayer()
    added.norm_param.across_spatial = False
    net, _ = read_binary(binary(tmp_path, (INPUT, None), (layer("Normalize"), added)), pb.NetParameter)
    with refused("field-unknown", layer="l", field="206", hint="ssd"):
        build_graph(net)


def test_naming_the_fork_gives_numbers_their_names(tmp_path):
    added = fb.SSDLayer()
    added.norm_param.across_spatial = False
    added.norm_param.eps = 0.25
    net, _ = read_binary(binary(tmp_path, (INPUT, None), (layer("Normalize"), added)), pb.NetParameter)
    built = build_net(net, fork="ssd")
    text = "norm_param { across_spatial: false eps: 0.25 }"
    twin = build_net(single("Normalize", [(1, 4, 3, 3)], text))
    x = torch.randn(1, 4, 3, 3)
    assert torch.equal(built(x), twin(x))
    written = format_text(prepare(net, fork="ssd").message)
    assert "norm_param {\n    across_spatial: false\n    eps: 0.25\n  }" in written


@pytest.mark.parametrize(
    ("type_", "bottoms", "fork", "caffe_field"),
    [("Interp", ("x",), "pspnet", "input_param"), ("Upsample", ("x", "m"), "segnet", "embed_param")],
)
def test_a_number_that_caffe_has_for_another_field_is_not_read_as_that(tmp_path, type_, bottoms, fork, caffe_field):
    added = {"pspnet": fb.PSPNetLayer, "segnet": fb.SegNetLayer}[fork]()
    if fork == "pspnet":
        added.interp_param.height = added.interp_param.width = 6
    else:
        added.upsample_param.upsample_h = added.upsample_param.upsample_w = 6
        added.upsample_param.scale = 3
    source = pb.LayerParameter()
    source.CopyFrom(INPUT)
    source.top[:] = bottoms
    net, _ = read_binary(binary(tmp_path, (source, None), (layer(type_, bottoms), added)), pb.NetParameter)
    with refused("ambiguous", layer="l", field=caffe_field, hint=f"fork={fork!r}"):
        build_graph(net)
    assert build_graph(net, fork=fork).shapes["y"] == (1, 4, 6, 6)


def test_round_mode_of_a_binary_file_is_ceil_mode_the_other_way_about_where_the_fork_is_named(tmp_path):
    pool = layer("Pooling")
    pool.pooling_param.kernel_size = pool.pooling_param.stride = 2
    pool.pooling_param.MergeFromString(fb.CeilModePooling(ceil_mode=True).SerializeToString())
    net, _ = read_binary(binary(tmp_path, (INPUT, None), (pool, None)), pb.NetParameter)
    assert build_graph(net).shapes["y"] == (1, 4, 1, 1)  # Caffe 1.0: round_mode FLOOR
    assert build_graph(net, fork="pr3057").shapes["y"] == (1, 4, 2, 2)


def test_what_is_no_field_of_the_fork_that_is_named_is_refused(tmp_path):
    part = layer("BN")
    part.MergeFromString(b"\xc2\x09\x03\x0a\x7f\x00")  # field 152, three bytes: a field longer than they are
    net, _ = read_binary(binary(tmp_path, (INPUT, None), (part, None)), pb.NetParameter)
    with refused("field-unknown", layer="l"):
        prepare(net, fork="pspnet")


def test_naming_a_fork_leaves_the_net_that_was_given_as_it_was(tmp_path):
    added = fb.SSDLayer()
    added.norm_param.eps = 1
    net, _ = read_binary(binary(tmp_path, (layer("Normalize"), added)), pb.NetParameter)
    before = net.SerializeToString()
    prepared = prepare(net, fork=("ssd", "segnet", "ssd"))
    assert net.SerializeToString() == before
    assert prepared.forks == ("ssd", "segnet")
    assert name_numbered_fields(net, ()) is net


def test_a_field_of_text_is_never_renumbered():
    text = "interp_param { height: 3 width: 3 } input_param { shape { dim: 2 } }"
    net = parse_text(single("Interp", MAP, text), pb.NetParameter)
    assert net.layer[-1] == name_numbered_fields(net, ["pspnet"]).layer[-1]


# The schema


def test_numbers_of_one_message_clash_between_forks_and_with_caffe():
    numbers = {
        f: {x.number for x in s.additions["LayerParameter"].DESCRIPTOR.fields}
        for f, s in FORKS.items()
        if "LayerParameter" in s.additions
    }
    ours = set(pb.LayerParameter.DESCRIPTOR.fields_by_number)
    assert numbers["pspnet"] & ours == {143, 144}
    assert numbers["segnet"] - {138} & ours == numbers["yjxiong"] & ours == {137}
    assert numbers["yjxiong"] & numbers["yolov3"] == {150}
    assert not numbers["ssd"] & ours


def test_caffes_own_schema_knows_nothing_of_forks():
    names = set(pb.LayerParameter.DESCRIPTOR.fields_by_name)
    added = {x.name for s in FORKS.values() for m in s.additions.values() for x in m.DESCRIPTOR.fields}
    assert not names & added
    assert not [f for f in pb.DESCRIPTOR.dependencies if "forks" in f.name]


def test_text_of_a_fork_is_written_back_as_it_was():
    text = single("Normalize", MAP, "norm_param { across_spatial: false scale_filler { value: 20 } }")
    net = parse_text(text, pb.NetParameter)
    again = parse_text(format_text(net), pb.NetParameter)
    assert [f.text for _, f in all_unknown_fields(again)] == [f.text for _, f in all_unknown_fields(net)]
    assert build_graph(again).nodes[-1].spec.fork == "ssd"


def test_load_net_takes_the_fork_that_is_named():
    net = parse_text(single("BN", MAP), pb.NetParameter)
    for fork in ("segnet", "pspnet"):
        assert load_net(net, fork=fork).caffe.nodes[-1].spec.fork == fork
