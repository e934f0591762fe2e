"""Fields unknown to Caffe 1.0 are kept, and layers know their lines."""

import pytest

from caffe_compat.errors import SolverError
from caffe_compat.formats.files import (
    Where,
    all_unknown_fields,
    format_text,
    parse_text,
    plain,
    read_binary,
    same,
    unknown_fields,
    where,
    write_binary,
)
from caffe_compat.schema.caffe_pb2 import LayerParameter, NetParameter, SolverParameter
from tests.refusals import refused

TEXT = """name: "fork"
crop_bias: -1
layer {
  name: "roi"
  type: "ROIPooling"
  roi_pooling_param < pooled_h: 7; pooled_w: 7 mode: [A, "b" 'c'] inner { deep { x: -inf } } list: [{a: 1 b: 2}, {}] >
  pooling_param { pool: MEDIAN pad: 1 }
  [some.fork/ext] { a: 1 }
}
layers {
  type: INTERP
  name: "old"
}
"""


@pytest.fixture
def net():
    return parse_text(TEXT, NetParameter, file="nets/fork.prototxt")


def test_unknown_fields_and_identifiers_are_listed_with_their_place(net):
    assert [(path, f.field, f.value, f.file, f.line, f.column) for path, f in all_unknown_fields(net)] == [
        ("", "crop_bias", None, "nets/fork.prototxt", 2, 1),
        ("layers[0]", "type", "INTERP", "nets/fork.prototxt", 11, 3),
        ("layer[0]", "roi_pooling_param", None, "nets/fork.prototxt", 6, 3),
        ("layer[0]", "[some.fork/ext]", None, "nets/fork.prototxt", 8, 3),
        ("layer[0].pooling_param", "pool", "MEDIAN", "nets/fork.prototxt", 7, 19),
    ]


def test_unknown_fields_of_a_message_exclude_those_of_its_parts(net):
    assert [f.field for f in unknown_fields(net)] == ["crop_bias"]


def test_unknown_fields_are_formatted_in_their_message(net):
    formatted = format_text(net)
    assert (
        formatted
        == """name: "fork"
layers {
  name: "old"
  type: INTERP
}
layer {
  name: "roi"
  type: "ROIPooling"
  pooling_param {
    pad: 1
    pool: MEDIAN
  }
  roi_pooling_param {
    pooled_h: 7
    pooled_w: 7
    mode: [A, "b" 'c']
    inner {
      deep {
        x: -inf
      }
    }
    list: [{ a: 1 b: 2 }, {  }]
  }
  [some.fork/ext] {
    a: 1
  }
}
crop_bias: -1
"""
    )
    again = parse_text(formatted, NetParameter)
    assert same(again, net)
    assert format_text(again) == formatted


def test_unknown_fields_survive_copies_and_serialisation(net):
    copy = NetParameter()
    copy.CopyFrom(net)
    assert all_unknown_fields(copy) == all_unknown_fields(net)
    assert all_unknown_fields(NetParameter.FromString(net.SerializeToString())) == all_unknown_fields(net)


def test_a_binary_file_keeps_unknown_fields_but_not_the_lines_of_layers(net, tmp_path):
    write_binary(net, tmp_path / "net")
    again, _ = read_binary(tmp_path / "net", NetParameter)
    assert all_unknown_fields(again) == all_unknown_fields(net)
    assert where(net.layer[0]) == Where("nets/fork.prototxt", 3)
    assert where(again.layer[0]) is None
    assert again == plain(net)
    assert b"nets/fork.prototxt\x003" not in (tmp_path / "net").read_bytes()


def test_layers_of_both_versions_know_their_lines(net):
    assert where(net.layers[0]) == Where("nets/fork.prototxt", 10)
    assert where(LayerParameter()) is None
    assert where(net) is None


def test_every_unknown_field_has_an_error_with_its_place(net):
    errors = [(path, unknown.error()) for path, unknown in all_unknown_fields(net)]
    fork = "it belongs to a fork of Caffe"
    assert [(error.line, error.column, error.code, path, error.field, error.hint) for path, error in errors] == [
        (2, 1, "field-unknown", "", "crop_bias", fork),
        (11, 3, "name-unknown", "layers[0]", "type", fork),
        (6, 3, "field-unknown", "layer[0]", "roi_pooling_param", "did you mean 'pooling_param'?"),
        (8, 3, "field-unknown", "layer[0]", "[some.fork/ext]", fork),
        (7, 19, "name-unknown", "layer[0].pooling_param", "pool", fork),
    ]


def test_a_misspelt_field_is_refused_with_a_suggestion():
    layer = parse_text("layer { convolution_param { num_ouput: 3 } }", NetParameter, file="a").layer[0]
    place = {"file": "a", "line": 1, "column": 29, "layer": "c", "field": "num_ouput"}
    with refused("field-unknown", **place, hint="did you mean 'num_output'?"):
        raise all_unknown_fields(layer)[0][1].error(layer="c")
    with refused("name-unknown", field="solver_mode", hint="did you mean 'GPU'") as caught:
        raise unknown_fields(parse_text("solver_mode: GPUS", SolverParameter))[0].error(SolverError)
    assert isinstance(caught.value, SolverError)


def test_unknown_fields_of_a_binary_file_are_kept_and_listed_by_number(tmp_path):
    layer = b"\x0a\x01a" + b"\xba\xc3\xc2\x1f\x02hi" + b"\xc0\x0c\x05" + b"\xc5\x0cabcd" + b"\xc1\x0cabcdefgh"
    content = b"\x0a\x01n" + b"\xa2\x06" + bytes([len(layer)]) + layer
    (tmp_path / "m").write_bytes(content)
    net, _ = read_binary(tmp_path / "m", NetParameter)
    assert [(p, f.field, f.file, f.line) for p, f in all_unknown_fields(net)] == [
        ("layer[0]", "8262711", None, None),
        ("layer[0]", "200", None, None),
        ("layer[0]", "200", None, None),
        ("layer[0]", "200", None, None),
    ]
    write_binary(net, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == content
    formatted = format_text(net)
    assert "# unknown field 8262711: 2 bytes (bytes)" in formatted
    assert parse_text(formatted, NetParameter).layer[0].name == "a"


def test_same_ignores_places_and_plain_removes_them():
    first, second = (parse_text(t, NetParameter) for t in ("layer { x: 1 }", "\n\nlayer {\n x: 1 }"))
    assert first != second
    assert same(first, second)
    assert not same(first, parse_text("layer { x: 2 }", NetParameter))
    assert not same(first, parse_text("layer { }", NetParameter))
    assert not same(first, SolverParameter())
    assert where(plain(first).layer[0]) is None
    assert unknown_fields(plain(first).layer[0])
    assert plain(first, keep_unknown=False).layer[0] == LayerParameter()
    assert where(first.layer[0]) is not None
