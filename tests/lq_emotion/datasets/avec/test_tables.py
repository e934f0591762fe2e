"""Tables: CSV with three separators, ARFF with strings, frame times, and errors with line and column."""

import math

import numpy as np
import pytest

from lq_emotion.datasets.avec.tables import frame_times, read_arff, read_csv
from tests.lq_emotion.datasets.avec.trees import HEADER, put
from tests.refusals import refused


def test_column_names_are_stripped(tmp_path):
    table = read_csv(put(tmp_path / "a.csv", f"{HEADER}\n0;1;2;3;4;5;6\n"))
    assert table.columns == ("time", "FM1", "FM2", "FM3", "FF1", "FF2", "FF3")
    assert table.numbers(6).tolist() == [6.0]


@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_values_are_separated_by_semicolons_commas_or_tabs(tmp_path, separator):
    table = read_csv(put(tmp_path / "a.csv", "a,b\n1,2\n\n3,4,\n".replace(",", separator)))
    assert table.numbers(1).tolist() == [2.0, 4.0]
    assert [line for line, _ in table.rows] == [2, 4]


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftime;x \r\n0.04;1\r\n")
    assert read_csv(path).columns == ("time", "x")


def test_nan_question_marks_and_empty_values_are_nan(tmp_path):
    table = read_csv(put(tmp_path / "a.csv", "a;b\nNaN;1\n?;1\n;1\n2;1\n"))
    assert [math.isnan(value) for value in table.numbers(0)] == [True, True, True, False]


def test_a_value_that_is_not_a_number_is_refused_with_line_and_column(tmp_path):
    path = put(tmp_path / "a.csv", "a;b\n1;2\n3;x\n")
    with refused("syntax", file=path, line=3, column=2, field="b", value="x"):
        read_csv(path).numbers(1)


def test_a_short_row_is_refused_with_its_line(tmp_path):
    with refused("wrong-count", file="a.csv", line=3, hint="'a', 'b'"):
        read_csv(put(tmp_path / "a.csv", "a;b\n1;2\n3\n"))


@pytest.mark.parametrize("text", ["", "a;b\n"])
def test_a_table_without_rows_is_refused(tmp_path, text):
    with refused("empty", file="a.csv"):
        read_csv(put(tmp_path / "a.csv", text))


def test_binary_and_missing_files_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x80")
    with refused("wrong-format", file="a.csv"):
        read_csv(tmp_path / "a.csv")
    with refused("file-missing", file="b.csv"):
        read_csv(tmp_path / "b.csv")


ARFF = """% a comment
@relation 'GOLD STANDARD'

@attribute 'Instance name' string
@ATTRIBUTE\tframeTime numeric
@attribute GoldStandard   numeric

@data

% another
{rows}
"""


@pytest.mark.parametrize(
    ("quote", "name"), [("", "train_1"), ("'", "train_1"), ('"', "train_1"), ("'", "a, b"), ('"', "O'Hara")]
)
def test_arff_with_string_attributes_and_quoted_names(tmp_path, quote, name):
    table = read_arff(
        put(tmp_path / "a.arff", ARFF.format(rows=f"{quote}{name}{quote},0.04,-0.25\n{name[:1]}, 0.08 ,?"))
    )
    assert table.columns == ("Instance name", "frameTime", "GoldStandard")
    assert table.rows[0][1][0] == name
    assert table.numbers(1).tolist() == [0.04, 0.08]
    np.testing.assert_array_equal(table.numbers(2), [-0.25, np.nan])


def test_errors_in_arff_files_have_the_line(tmp_path):
    path = put(tmp_path / "a.arff", ARFF.format(rows="train_1,0.04,0.1\ntrain_1,0.08"))
    with refused("wrong-count", file="a.arff", line=12):
        read_arff(path)
    with refused("unsupported", file="a.arff", line=11):
        read_arff(put(path, ARFF.format(rows="{1 0.04}")))
    with refused("syntax", file="a.arff", line=12):
        read_arff(put(path, ARFF.format(rows="train_1,0.04,0.1\ntrain_1,0.08," + "1" * 140_000)))
    with refused("syntax", file="a.arff", line=1, value="time;gsd"):
        read_arff(put(path, "time;gsd\n0;1\n"))
    with refused("damaged-file", file="a.arff"):
        read_arff(put(path, "@relation x\n@attribute y numeric\n"))


def test_frame_times_are_in_the_column_of_that_name_else_in_the_second(tmp_path):
    named = put(tmp_path / "a.csv", "frame;other;Time in seconds \n1;9;0.0\n2;9;0.04\n")
    second = put(tmp_path / "b.csv", "frame;time\n1;0.0\n2;0.04\n")
    assert frame_times(named).tolist() == frame_times(second).tolist() == [0.0, 0.04]


def test_tables_without_frame_times_are_refused(tmp_path):
    with refused("field-missing", file="a.csv", line=1):
        frame_times(put(tmp_path / "a.csv", "time\n0\n"))
    with refused("field-missing", file="a.csv", line=3, column=2, field="time"):
        frame_times(put(tmp_path / "a.csv", "frame;time\n1;0\n2;\n"))
    with refused("syntax", file="a.csv", line=2, column=2, field="name", value="abc"):
        frame_times(put(tmp_path / "a.csv", "frame;name\n1;abc\n"))
