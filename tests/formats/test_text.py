"""Protobuf text is parsed as Caffe's users write it."""

import math
import subprocess
import sys
import time

import pytest
from google.protobuf import text_format

from caffe_compat.formats.files import format_text, parse_text, plain, read_net, same, write_text
from caffe_compat.schema.caffe_pb2 import BlobProto, Datum, NetParameter, SolverParameter
from tests.refusals import refused


def net(text):
    return parse_text(text, NetParameter, file="a.prototxt")


VARIANTS = [
    'name: "a" layer { name: "b" type: "ReLU" }',
    "name: 'a' layer { name: 'b' type: 'ReLU' }",
    "name: 'a', layer: { name: 'b'; type: 'ReLU', };",
    "name: 'a' layer < name: 'b' type: 'ReLU' >",
    "name: 'a' layer: < name: 'b' type: 'ReLU' >;",
    "name:'a'layer{name:'b'type:'ReLU'}",
    "name: 'a' layer [{ name: 'b' type: 'ReLU' }]",
    "name: 'a' layer: [ < name: 'b' type: 'ReLU' > ]",
    "# a comment { \n name # name: 'x'\n : 'a' # 'a'\n layer #\n {\n name: 'b' type: 'Re'  'L' # more\n \"U\" }#",
    "\ufeffname: 'a'\r\nlayer {\r\n\tname: 'b'\f\vtype: 'ReLU'\r\n}\r\n",
    r"name: '\x61' layer { name: '\142' type: '\u0052e\114U' }",
]


@pytest.mark.parametrize("text", VARIANTS)
def test_every_spelling_of_a_message_is_parsed(text):
    expected = NetParameter(name="a")
    expected.layer.add(name="b", type="ReLU")
    assert plain(net(text)) == expected


@pytest.mark.parametrize("text", [t for t in VARIANTS if not t.startswith("\ufeff") and "u0052" not in t])
def test_protobufs_parser_returns_the_same_message(text):
    assert plain(net(text)) == text_format.Parse(text, NetParameter())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("1.", 1), (".5", 0.5), ("1.5f", 1.5), ("2f", 2), ("1e-2", 0.01), ("1E+2F", 100), ("-3", -3), ("- 3", -3),
        ("inf", math.inf), ("-inf", -math.inf), ("Infinity", math.inf), ("0", 0), ("0.0", 0), ("1e400", math.inf),
    ],
)  # fmt: skip
def test_float_fields_accept_every_spelling_of_a_number(text, value):
    assert parse_text(f"base_lr: {text}", SolverParameter).base_lr == pytest.approx(value)


def test_nan_is_parsed():
    assert math.isnan(parse_text("base_lr: nan", SolverParameter).base_lr)


@pytest.mark.parametrize(
    ("text", "value"), [("10", 10), ("0x1F", 31), ("017", 15), ("-5", -5), ("0", 0), ("2147483647", 2**31 - 1)]
)
def test_integer_fields_accept_decimal_octal_and_hexadecimal(text, value):
    assert parse_text(f"max_iter: {text}", SolverParameter).max_iter == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("t", True), ("True", True), ("1", True), ("false", False), ("f", False), ("0", False),
     ("01", True), ("0x1", True), ("0X01", True), ("00", False), ("0x0", False)],
)  # fmt: skip
def test_booleans_have_several_spellings(text, value):
    message = net(f"force_backward: {text}")
    assert message.HasField("force_backward")
    assert message.force_backward is value


def test_enums_are_given_by_identifier_or_number():
    assert net("layer { phase: TEST }").layer[0].phase == 1
    assert net("layer { phase: 1 }").layer[0].phase == 1
    assert net("layers { type: CONVOLUTION }").layers[0].type == 4


def test_lists_and_repeated_fields_are_joined():
    assert list(net("input_dim: [1, 2] input_dim: 3 input_dim: []").input_dim) == [1, 2, 3]


def test_an_empty_message_is_present():
    assert net("layer { relu_param { } }").layer[0].HasField("relu_param")


def test_bytes_are_unescaped():
    assert parse_text(r"data: '\377\000a\x0'", Datum).data == b"\xff\0a\0"


def test_a_bom_crlf_and_a_missing_final_newline_are_accepted():
    assert net("\ufeffname: 'a'\r\n# last").name == "a"


def test_text_outside_ascii_is_preserved():
    message = net('name: "größe"')
    assert message.name == "größe"
    assert format_text(message) == 'name: "größe"\n'


@pytest.mark.parametrize(
    ("text", "code", "column", "field"),
    [
        ("name: 'a", "syntax", 7, None),
        ("name: 'a\n'", "syntax", 7, None),
        ("name: a", "syntax", 7, "name"),
        ("name 'a'", "syntax", 6, "name"),
        ("name: 'a' name: 'b'", "duplicate", 11, "name"),
        ("\nlayer {\n  name: 'a'\n", "syntax", (4, 1), None),
        ("layer { name: 'a' >", "syntax", 19, None),
        ("}", "syntax", 1, None),
        ("layer: 3", "syntax", 8, "layer"),
        ("layer { type: CONVOLUTION }", "syntax", 15, "layer.type"),
        ("layers { type: 'Convolution' }", "syntax", 16, "layers.type"),
        ("layer { nmae 'a' }", "syntax", 14, "layer.nmae"),
        ("input_dim: 1.5", "syntax", 12, "input_dim"),
        ("input_dim: 089", "syntax", 12, "input_dim"),
        ("input_dim: 3000000000", "out-of-range", 12, "input_dim"),
        ("input_dim: [1 2]", "syntax", 15, "input_dim"),
        ("input_dim: 1x", "syntax", 12, None),
        ("force_backward: 2", "out-of-range", 17, "force_backward"),
        ("force_backward: -1", "syntax", 17, "force_backward"),
        ("force_backward: 1.", "syntax", 17, "force_backward"),
        ("force_backward: yes", "syntax", 17, "force_backward"),
        ("layer { blobs { data: 0x10 } }", "syntax", 23, "layer.blobs.data"),
        ("layer { clip_param { min: 1 } }", "field-missing", 9, "layer.clip_param"),
        (r"name: '\q'", "syntax", 8, None),
        (r"name: '\777'", "syntax", 8, None),
        (r"name: '\400'", "syntax", 8, None),
        (r"name: '\xff'", "syntax", 7, "name"),
        ("name: @", "syntax", 7, None),
        ("7: 3", "syntax", 1, None),
        ("name:", "syntax", 6, "name"),
    ],
)  # fmt: skip
def test_an_error_has_code_file_line_column_and_field(text, code, column, field):
    line, column = column if isinstance(column, tuple) else (1, column)
    with refused(code, file="a.prototxt", line=line, column=column, field=field):
        net(text)


@pytest.mark.parametrize("text", ["a { " * 100_000, "a: [" + "{ a: [" * 100_000])
def test_deeply_nested_messages_are_an_error(text):
    with refused("too-large"):
        net(text)


def test_formatted_text_parses_into_an_equal_message():
    text = r"""
    name: "a\"b\\c\n\t\001é"  force_backward: false
    layer { name: 'x' loss_weight: [1, 0.1, 1e-10, inf, -inf, 123456789] phase: TEST
      blobs { shape { dim: [2, 9223372036854775807] } data: [0.1, 3] double_data: 0.1 } relu_param {} }
    """
    message = net(text)
    formatted = format_text(message)
    assert same(net(formatted), message)
    assert format_text(net(formatted)) == formatted
    assert plain(message) == text_format.Parse(formatted, NetParameter())


def test_numbers_are_formatted_as_by_caffe():
    message = parse_text("base_lr: 0.01 momentum: 1 gamma: 1e-8 solver_mode: GPU snapshot_diff: true", SolverParameter)
    assert format_text(message) == "base_lr: 0.01\ngamma: 1e-08\nmomentum: 1\nsnapshot_diff: true\nsolver_mode: GPU\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-4, "0.0001"), (1e-5, "1e-05"), (0.1, "0.1"), (123456, "123456"), (1234567, "1234567"), (1e6, "1e+06"),
        (16777217, "16777216"), (1 / 3, "0.333333343"), (3.4028235e38, "3.40282347e+38"), (1e-45, "1.4013e-45"),
        (-0.0, "-0"), (math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_a_float_has_six_digits_or_nine(value, text):
    message = SolverParameter(base_lr=value)
    assert format_text(message) == f"base_lr: {text}\n"
    assert parse_text(format_text(message), SolverParameter).SerializeToString() == message.SerializeToString()


@pytest.mark.parametrize(
    ("value", "text"), [(1e-4, "0.0001"), (0.1, "0.1"), (1 / 3, "0.33333333333333331"), (1e22, "1e+22"), (5e-324, "4.94065645841247e-324")]
)  # fmt: skip
def test_a_double_has_fifteen_digits_or_seventeen(value, text):
    message = BlobProto(double_data=[value])
    assert format_text(message) == f"double_data: {text}\n"
    assert parse_text(format_text(message), BlobProto) == message


def test_every_recorded_definition_is_parsed_as_by_protobuf(golden):
    paths = [path for kind in ("layers", "solvers", "studies") for path in sorted(golden.glob(f"{kind}/*/*.prototxt"))]
    assert len(paths) > 120
    for path in paths:
        cls = SolverParameter if path.name == "solver.prototxt" else NetParameter
        message = parse_text(path.read_text(), cls, file=str(path))
        assert plain(message) == text_format.Parse(path.read_text(), cls()), path
        assert same(parse_text(format_text(message), cls), message), path


def test_a_net_of_thousands_of_lines_is_parsed_within_a_second():
    layer = """layer {{
  name: "res{0}"
  type: "Convolution"
  bottom: "blob{0}"
  top: "blob{1}"
  convolution_param {{
    num_output: 64
    kernel_size: 3
    pad: 1
    bias_term: false
  }}
}}
"""
    text = "".join(layer.format(i, i + 1) for i in range(300))
    assert text.count("\n") > 3000
    start = time.perf_counter()
    assert len(net(text).layer) == 300
    assert time.perf_counter() - start < 1


def test_values_of_blobs_are_parsed():
    blob = parse_text("shape { dim: 2 } data: [1.5, -2]", BlobProto)
    assert list(blob.data) == [1.5, -2]


def test_an_unpaired_surrogate_is_refused():
    with refused("syntax", file="a.prototxt", line=1, column=8):
        net("name: '\ud800'")


def test_an_unknown_value_may_hold_bytes_that_are_not_utf_8(tmp_path):
    (tmp_path / "f").write_bytes(b"own: 'gr\xf6\xdfe'\nlayer { }\n")
    message = read_net(tmp_path / "f")
    write_text(message, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b"layer {\n}\nown: 'gr\xf6\xdfe'\n"
    assert same(read_net(tmp_path / "again"), message)


@pytest.mark.parametrize("text", ["n" * 200_000, r"\x41" * 50_000, r"\"" * 100_000, "é\\n" * 60_000])
def test_a_long_string_needs_no_memory_for_backtracking(text):
    source = f'name: "{text}"'
    code = (
        "import resource, sys\n"
        "from caffe_compat.formats.tokens import SourceText, tokenize\n"
        "source = SourceText(sys.stdin.buffer.read().decode(), 'a')\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "assert len(tokenize(source)) == 4\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=source.encode(), capture_output=True, check=True)
    assert int(done.stdout) < 8 << 10  # KiB; with backtracking, 50 MiB for the first
