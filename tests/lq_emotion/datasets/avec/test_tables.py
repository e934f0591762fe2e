"""ARFF with strings, frame times, and errors with line and column."""

import numpy as np
import pytest

from lq_emotion.datasets.avec.tables import frame_times, read_arff
from tests.lq_emotion.datasets.avec.trees import put
from tests.refusals import refused

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
    assert table.columns == ("instance name", "frametime", "goldstandard")
    assert table.rows[0]["Instance name"] == name
    assert table.numbers("frameTime").tolist() == [0.04, 0.08]
    np.testing.assert_array_equal(table.numbers("GoldStandard"), [-0.25, np.nan])


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
