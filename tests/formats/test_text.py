"""prototxt as people write it."""

import math
import subprocess
import sys
import time

import pytest
from google.protobuf import text_format

from caffe_compat.errors import ParseError
from caffe_compat.formats.files import format_text, parse_text, plain, read_net, same, write_text
from caffe_compat.schema.caffe_pb2 import BlobProto, Datum, NetParameter, SolverParameter


def net(text):
    return parse_text(text, NetParameter, file="a.prototxt")


def refusal(text, cls=NetParameter):
    with pytest.raises(ParseError) as caught:
        parse_text(text, cls, file="a.prototxt")
    return str(caught.value)


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
def test_every_spelling_of_a_message_is_understood(text):
    expected = NetParameter(name="a")
    expected.layer.add(name="b", type="ReLU")
    assert plain(net(text)) == expected


@pytest.mark.parametrize("text", [t for t in VARIANTS if not t.startswith("\ufeff") and "u0052" not in t])
def test_protobufs_own_parser_understands_the_same(text):
    assert plain(net(text)) == text_format.Parse(text, NetParameter())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("1.", 1), (".5", 0.5), ("1.5f", 1.5), ("2f", 2), ("1e-2", 0.01), ("1E+2F", 100), ("-3", -3), ("- 3", -3),
        ("inf", math.inf), ("-inf", -math.inf), ("Infinity", math.inf), ("0", 0), ("0.0", 0), ("1e400", math.inf),
    ],
)  # fmt: skip
def test_numbers_of_a_float_field(text, value):
    assert parse_text(f"base_lr: {text}", SolverParameter).base_lr == pytest.approx(value)


def test_nan_is_a_number_too():
    assert math.isnan(parse_text("base_lr: nan", SolverParameter).base_lr)


@pytest.mark.parametrize(
    ("text", "value"), [("10", 10), ("0x1F", 31), ("017", 15), ("-5", -5), ("0", 0), ("2147483647", 2**31 - 1)]
)
def test_numbers_of_an_integer_field(text, value):
    assert parse_text(f"max_iter: {text}", SolverParameter).max_iter == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("t", True), ("True", True), ("1", True), ("false", False), ("f", False), ("0", False),
     ("01", True), ("0x1", True), ("0X01", True), ("00", False), ("0x0", False)],
)  # fmt: skip
def test_truth_values(text, value):
    message = net(f"force_backward: {text}")
    assert message.HasField("force_backward")
    assert message.force_backward is value


def test_enums_by_identifier_or_number():
    assert net("layer { phase: TEST }").layer[0].phase == 1
    assert net("layer { phase: 1 }").layer[0].phase == 1
    assert net("layers { type: CONVOLUTION }").layers[0].type == 4


def test_lists_and_repetition_add_up():
    assert list(net("input_dim: [1, 2] input_dim: 3 input_dim: []").input_dim) == [1, 2, 3]


def test_an_empty_message_is_present():
    assert net("layer { relu_param { } }").layer[0].HasField("relu_param")


def test_bytes_are_kept_as_written():
    assert parse_text(r"data: '\377\000a\x0'", Datum).data == b"\xff\0a\0"


def test_a_bom_crlf_and_no_final_newline_do_no_harm():
    assert net("\ufeffname: 'a'\r\n# last").name == "a"


def test_text_outside_ascii_is_kept():
    message = net('name: "größe"')
    assert message.name == "größe"
    assert format_text(message) == 'name: "größe"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: 'a", "a.prototxt:1:7: this string is not closed on its line"),
        ("name: 'a\n'", "a.prototxt:1:7: this string is not closed on its line"),
        ("name: a", "a.prototxt:1:7: name: a string in quotes is expected, not a (write \"a\")"),
        ("name 'a'", "a.prototxt:1:6: name: ':' is expected after 'name'"),
        ("name: 'a' name: 'b'", "a.prototxt:1:11: name: given twice; it holds one value"),
        ("\nlayer {\n  name: 'a'\n", "a.prototxt:4:1: the text ends where '}' is missing"),
        ("layer { name: 'a' >", "a.prototxt:1:19: a field's name is expected, not >"),
        ("}", "a.prototxt:1:1: a field's name is expected, not }"),
        ("layer: 3", "a.prototxt:1:8: layer: '{' is expected, not 3"),
        ("layer { type: CONVOLUTION }", "a.prototxt:1:15: layer.type: a string in quotes is expected, not CONVOLUTION (write \"Convolution\")"),
        ("layers { type: 'Convolution' }", "a.prototxt:1:16: layers.type: an identifier is expected, not 'Convolution' (did you mean 'CONVOLUTION'?)"),
        ("layer { nmae 'a' }", "a.prototxt:1:14: layer.nmae: ':' or '{' is expected after 'nmae' (did you mean 'name'?)"),
        ("input_dim: 1.5", "a.prototxt:1:12: input_dim: an integer is expected, not 1.5"),
        ("input_dim: 089", "a.prototxt:1:12: input_dim: an integer is expected, not 089"),
        ("input_dim: 3000000000", "a.prototxt:1:12: input_dim: 3000000000 is out of range (-2147483648 to 2147483647)"),
        ("input_dim: [1 2]", "a.prototxt:1:15: input_dim: ',' or ']' is expected in a list, not 2"),
        ("input_dim: 1x", "a.prototxt:1:12: '1x' is not a number"),
        ("force_backward: 2", "a.prototxt:1:17: force_backward: 2 is out of range (0 to 1)"),
        ("force_backward: -1", "a.prototxt:1:17: force_backward: true or false is expected, not -"),
        ("force_backward: 1.", "a.prototxt:1:17: force_backward: true or false is expected, not 1."),
        ("force_backward: yes", "a.prototxt:1:17: force_backward: true or false is expected, not yes"),
        ("layer { blobs { data: 0x10 } }", "a.prototxt:1:23: layer.blobs.data: a number is expected, not 0x10"),
        ("layer { clip_param { min: 1 } }", "a.prototxt:1:9: layer.clip_param: required field missing: max"),
        (r"name: '\q'", r"a.prototxt:1:8: '\\q' is no escape sequence (a backslash is written \\)"),
        (r"name: '\777'", r"a.prototxt:1:8: '\\777' is no escape sequence (a backslash is written \\)"),
        (r"name: '\xff'", "a.prototxt:1:7: name: this string is not UTF-8"),
        ("name: @", "a.prototxt:1:7: '@' does not belong here"),
        ("7: 3", "a.prototxt:1:1: a field's name is expected, not 7"),
        ("name:", "a.prototxt:1:6: name: a string in quotes is expected, not the end of the text"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_column_field_and_what_would_work(text, expected):
    assert refusal(text) == expected


def test_messages_nested_without_end_are_an_error_not_a_crash():
    assert "deeper than 100" in refusal("a { " * 100_000)
    assert "deeper than 100" in refusal("a: [" + "{ a: [" * 100_000)


def test_what_is_printed_reads_back_equal():
    text = r"""
    name: "a\"b\\c\n\t\001é"  force_backward: false
    layer { name: 'x' loss_weight: [1, 0.1, 1e-10, inf, -inf, 123456789] phase: TEST
      blobs { shape { dim: [2, 9223372036854775807] } data: [0.1, 3] double_data: 0.1 } relu_param {} }
    """
    message = net(text)
    printed = format_text(message)
    assert same(net(printed), message)
    assert format_text(net(printed)) == printed
    assert plain(message) == text_format.Parse(printed, NetParameter())


def test_numbers_are_printed_as_caffe_prints_them():
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


def test_every_recorded_definition_is_read_as_protobuf_reads_it(reference):
    found = sorted(reference.glob("caffe/*/*/*.prototxt"))
    assert len(found) > 80
    for path in found:
        cls = SolverParameter if path.name == "solver.prototxt" else NetParameter
        mine = parse_text(path.read_text(), cls, file=str(path))
        assert plain(mine) == text_format.Parse(path.read_text(), cls()), path
        assert same(parse_text(format_text(mine), cls), mine), path


def test_a_net_of_thousands_of_lines_is_read_in_a_moment():
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
    begun = time.perf_counter()
    assert len(net(text).layer) == 300
    assert time.perf_counter() - begun < 1


def test_values_may_be_given_in_text():
    blob = parse_text("shape { dim: 2 } data: [1.5, -2]", BlobProto)
    assert list(blob.data) == [1.5, -2]


def test_half_a_surrogate_pair_is_no_character():
    assert refusal("name: '\ud800'") == "a.prototxt:1:8: half of a surrogate pair is no character"


def test_an_unknown_value_may_hold_bytes_that_are_not_utf_8(tmp_path):
    (tmp_path / "f").write_bytes(b"own: 'gr\xf6\xdfe'\nlayer { }\n")
    message = read_net(tmp_path / "f")
    write_text(message, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b"layer {\n}\nown: 'gr\xf6\xdfe'\n"
    assert same(read_net(tmp_path / "again"), message)


@pytest.mark.parametrize("text", ["n" * 200_000, r"\x41" * 50_000, r"\"" * 100_000, "é\\n" * 60_000])
def test_reading_a_long_string_takes_memory_for_its_pieces_not_for_ways_back(text):
    source = f'name: "{text}"'
    code = (
        "import resource, sys\n"
        "from caffe_compat.formats.tokens import Source, tokenize\n"
        "source = Source(sys.stdin.buffer.read().decode(), 'a')\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "assert len(tokenize(source)) == 4\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=source.encode(), capture_output=True, check=True)
    assert int(done.stdout) < 8 << 10  # KiB; it was 50 MiB for the first
