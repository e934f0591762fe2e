import numpy as np
import pytest

from lq_emotion.datasets.avec.gold import (
    GoldStandard,
    combine_ratings,
    load_gold_standard,
    read_arff,
    read_gold,
    read_gsd,
    read_ratings,
    write_gsd,
)
from lq_emotion.datasets.avec.layout import Recording, find_recordings
from matlab_ports.matfile import loadmat, savemat
from tests.lq_emotion.datasets.avec import trees
from tests.reference import avec_gold
from tests.refusals import refused


def test_the_gold_standard_of_three_short_traces_by_hand():
    """CCC 8/11 between raters 1 and 2, 3; 1 between 2 and 3 (covariance by N, variance by N - 1)."""
    traces = np.array([[0.0, 1.0, 1.0], [1.0, 2.0, 2.0], [2.0, 3.0, 3.0]])
    near, equal = 2 * (2 / 3) / (1 + 1 + 1), 2 * (2 / 3) / 2
    weights = np.array([near, (near + equal) / 2, (near + equal) / 2])
    level = (weights * [1.0, 2.0, 2.0]).sum() / weights.sum()
    np.testing.assert_allclose(combine_ratings(traces), [level - 1, level, level + 1], rtol=1e-14)


@pytest.mark.parametrize("seed", range(4))
def test_the_gold_standard_agrees_with_the_transcription(seed):
    random = np.random.RandomState(seed)
    common = np.cumsum(random.randn(300)) / 20
    traces = np.stack([common * random.uniform(0.3, 1.5) + random.randn() + random.randn(300) / 5 for _ in range(6)], 1)
    np.testing.assert_allclose(combine_ratings(traces), avec_gold.gold(traces.T.tolist()), rtol=0, atol=1e-13)


def test_a_rater_who_disagrees_shifts_the_level_less_than_in_a_plain_mean():
    wave = np.sin(np.arange(200) / 15)
    traces = np.stack([wave, wave + 0.01, wave - 0.01, -wave + 3], axis=1)
    assert combine_ratings(traces).mean() < traces.mean() - 0.5


def test_missing_ratings_are_left_out_and_frames_without_ratings_are_nan():
    traces = np.random.RandomState(0).rand(50, 6)
    traces[3, 2] = np.nan
    traces[7] = np.nan
    gold = combine_ratings(traces)
    assert np.flatnonzero(np.isnan(gold)).tolist() == [7]


@pytest.mark.parametrize(
    ("ratings", "code"),
    [(np.zeros((5, 1)), "shape-mismatch"), ([[0.0, np.nan], [1.0, np.nan]], "empty"), (np.ones((5, 3)), "invalid")],
)
def test_ratings_without_agreement_are_refused(ratings, code):
    with refused(code, field="ratings"):
        combine_ratings(np.array(ratings))


def test_the_gold_standard_of_the_data_set_comes_before_one_rebuilt_from_ratings(tmp_path):
    recording = find_recordings(trees.avec(tmp_path))[0]
    published = load_gold_standard(recording)
    assert published.gsd.tolist() == [0.0, 0.125, 0.25, 0.375, 0.5]
    assert published.time.tolist() == [0.0, 0.04, 0.08, 0.12, 0.16]
    rebuilt = load_gold_standard(recording, "raters")
    assert rebuilt.path == recording.ratings
    time, ratings = read_ratings(recording.ratings)
    assert time.tolist() == [0.0, 0.04, 0.08, 0.12, 0.16]
    assert ratings.shape == (5, 6)
    np.testing.assert_array_equal(rebuilt.gsd, combine_ratings(ratings))


def test_recola_gold_standards_are_rebuilt_from_the_raters(tmp_path):
    recording = find_recordings(trees.recola(tmp_path))[1]
    assert recording.gold is None
    trees.put(recording.ratings, trees.ratings(trees.grid(2), np.ones((2, 6))))
    with refused("invalid", file="P16.csv", field="ratings"):
        load_gold_standard(recording)
    trees.put(recording.ratings, trees.ratings(trees.grid(3), np.random.RandomState(1).rand(3, 6)))
    assert load_gold_standard(recording).gsd.shape == (3,)


def test_a_recording_without_labels_is_refused():
    for labels in ("auto", "gold", "raters"):
        with refused("field-missing", field="labels", value=labels):
            load_gold_standard(Recording("test_1"), labels)


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_gold_standards_are_read_with_quoted_names_and_missing_values(tmp_path, quote):
    path = trees.put(tmp_path / "a.arff", trees.arff("dev_1", ["0", "0.04"], ["0.5", "?"], quote))
    np.testing.assert_array_equal(read_gold(path).gsd, [0.5, np.nan])


def test_gold_standards_without_a_column_or_off_the_grid_are_refused(tmp_path):
    with refused("field-missing", file="a.arff", field="GoldStandard"):
        read_gold(
            trees.put(tmp_path / "a.arff", "@relation x\n@attribute a string\n@attribute b numeric\n@data\nx,0\n")
        )
    with refused("out-of-range", file="a.arff", field="time of row 2", value=0.05):
        read_gold(trees.put(tmp_path / "a.arff", trees.arff("dev_1", ["0", "0.05"], ["0", "0"])))
    with refused("wrong-count", file="a.csv"):
        read_ratings(trees.put(tmp_path / "a.csv", "time;FM1\n0;1\n"))


def test_gsd_mat_has_the_authors_form_and_the_same_doubles_as_the_frame_times(tmp_path):
    gold = GoldStandard(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 0.04, 0.08, np.nextafter(0.12, 1)]), tmp_path)
    write_gsd(gold, tmp_path / "gsd.mat", frame_time=[0.04, 0.12])
    variables = loadmat(tmp_path / "gsd.mat")
    assert {name: values.shape for name, values in variables.items()} == {"gsd": (4, 1), "time": (4, 1)}
    assert variables["time"].ravel().tolist() == [0.0, 0.04, 0.08, 0.12]
    assert read_gsd(tmp_path / "gsd.mat").gsd.tolist() == [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("version", ["-v6", "-v7", "-v7.3"])
@pytest.mark.parametrize("shape", [(1, 3), (3, 1)])
def test_a_gsd_mat_of_any_version_and_orientation_is_read(tmp_path, version, shape):
    values = np.array([0.5, -0.5, 0.25])
    savemat(tmp_path / "a.mat", {"gsd": values.reshape(shape), "time": np.array([0, 0.04, 0.12])}, version=version)
    gold = read_gsd(tmp_path / "a.mat")
    assert gold.gsd.tolist() == [0.5, -0.5, 0.25]
    assert gold.time.tolist() == [0.0, 0.04, 0.12]


def test_a_gsd_csv_is_read_with_every_digit(tmp_path):
    (tmp_path / "a.csv").write_text("time;gsd\n0.0;0.3333333333333333\n0.04;nan\n")
    np.testing.assert_array_equal(read_gsd(tmp_path / "a.csv").gsd, [1 / 3, np.nan])


def test_invalid_gsd_files_are_refused(tmp_path):
    path = tmp_path / "a.mat"
    for name, shape, times, code in (
        ("gsd", 3, 2, "wrong-count"), ("gsd", (3, 2), 6, "shape-mismatch"), ("valence", 3, 3, "field-missing"),
    ):  # fmt: skip
        savemat(path, {name: np.zeros(shape), "time": np.zeros(times)})
        with refused(code, file="a.mat", field="gsd" if code == "shape-mismatch" else None):
            read_gsd(path)
    path.write_bytes(b"")
    with refused("empty", file="a.mat"):
        read_gsd(path)


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
        trees.put(tmp_path / "a.arff", ARFF.format(rows=f"{quote}{name}{quote},0.04,-0.25\n{name[:1]}, 0.08 ,?"))
    )
    assert table.columns == ("instance name", "frametime", "goldstandard")
    assert table.rows[0]["Instance name"] == name
    assert table.numbers("frameTime").tolist() == [0.04, 0.08]
    np.testing.assert_array_equal(table.numbers("GoldStandard"), [-0.25, np.nan])


def test_errors_in_arff_files_have_the_line(tmp_path):
    path = trees.put(tmp_path / "a.arff", ARFF.format(rows="train_1,0.04,0.1\ntrain_1,0.08"))
    with refused("wrong-count", file="a.arff", line=12):
        read_arff(path)
    with refused("unsupported", file="a.arff", line=11):
        read_arff(trees.put(path, ARFF.format(rows="{1 0.04}")))
    with refused("syntax", file="a.arff", line=12):
        read_arff(trees.put(path, ARFF.format(rows="train_1,0.04,0.1\ntrain_1,0.08," + "1" * 140_000)))
    with refused("syntax", file="a.arff", line=1, value="time;gsd"):
        read_arff(trees.put(path, "time;gsd\n0;1\n"))
    with refused("damaged-file", file="a.arff"):
        read_arff(trees.put(path, "@relation x\n@attribute y numeric\n"))
