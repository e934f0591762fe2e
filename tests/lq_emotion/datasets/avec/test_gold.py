import numpy as np
import pytest

from caffe_compat.errors import CaffeCompatError, DataError
from lq_emotion.datasets.avec.gold import (
    GoldStandard,
    gold_standard,
    read_gold,
    read_gsd,
    read_ratings,
    rebuild,
    write_gsd,
    write_gsd_csv,
)
from lq_emotion.datasets.avec.layout import Recording, find_recordings
from matlab_ports import PortError
from matlab_ports.matfile import loadmat, savemat
from tests.lq_emotion.datasets.avec import trees
from tests.reference import avec_gold


def test_the_gold_standard_of_three_short_traces_by_hand():
    """CCC 8/11 between raters 1 and 2, 3; 1 between 2 and 3 (covariance by N, variance by N - 1)."""
    traces = np.array([[0.0, 1.0, 1.0], [1.0, 2.0, 2.0], [2.0, 3.0, 3.0]])
    near, equal = 2 * (2 / 3) / (1 + 1 + 1), 2 * (2 / 3) / 2
    weights = np.array([near, (near + equal) / 2, (near + equal) / 2])
    level = (weights * [1.0, 2.0, 2.0]).sum() / weights.sum()
    np.testing.assert_allclose(rebuild(traces), [level - 1, level, level + 1], rtol=1e-14)


@pytest.mark.parametrize("seed", range(4))
def test_the_gold_standard_agrees_with_the_transcription(seed):
    random = np.random.RandomState(seed)
    common = np.cumsum(random.randn(300)) / 20
    traces = np.stack([common * random.uniform(0.3, 1.5) + random.randn() + random.randn(300) / 5 for _ in range(6)], 1)
    np.testing.assert_allclose(rebuild(traces), avec_gold.gold(traces.T.tolist()), rtol=0, atol=1e-13)


def test_a_rater_who_disagrees_moves_the_level_less_than_a_plain_mean():
    wave = np.sin(np.arange(200) / 15)
    traces = np.stack([wave, wave + 0.01, wave - 0.01, -wave + 3], axis=1)
    assert rebuild(traces).mean() < traces.mean() - 0.5


def test_missing_ratings_are_left_out_and_a_frame_without_any_is_nan():
    traces = np.random.RandomState(0).rand(50, 6)
    traces[3, 2] = np.nan
    traces[7] = np.nan
    gold = rebuild(traces)
    assert np.flatnonzero(np.isnan(gold)).tolist() == [7]


def test_ratings_without_agreement_are_refused():
    with pytest.raises(DataError, match="two raters or more"):
        rebuild(np.zeros((5, 1)))
    with pytest.raises(DataError, match="rater 2 gave no rating"):
        rebuild(np.array([[0.0, np.nan], [1.0, np.nan]]))
    with pytest.raises(DataError, match="their traces are constant"):
        rebuild(np.ones((5, 3)))


def test_the_packages_gold_standard_comes_first_and_ratings_on_request(tmp_path):
    recording = find_recordings(trees.avec(tmp_path))[0]
    from_package = gold_standard(recording)
    assert from_package.gsd.tolist() == [0.0, 0.125, 0.25, 0.375, 0.5]
    assert from_package.time.tolist() == [0.0, 0.04, 0.08, 0.12, 0.16]
    rebuilt = gold_standard(recording, "raters")
    assert rebuilt.path == recording.ratings
    time, ratings = read_ratings(recording.ratings)
    assert time.tolist() == [0.0, 0.04, 0.08, 0.12, 0.16]
    assert ratings.shape == (5, 6)
    np.testing.assert_array_equal(rebuilt.gsd, rebuild(ratings))


def test_holders_of_recola_get_the_gold_standard_from_the_raters(tmp_path):
    recording = find_recordings(trees.recola(tmp_path))[1]
    assert recording.gold is None
    trees.put(recording.ratings, trees.ratings(trees.grid(2), np.ones((2, 6))))
    with pytest.raises(DataError, match=r"P16.csv: ratings: the raters' agreement is not defined"):
        gold_standard(recording)
    trees.put(recording.ratings, trees.ratings(trees.grid(3), np.random.RandomState(1).rand(3, 6)))
    assert gold_standard(recording).gsd.shape == (3,)


def test_a_recording_without_labels_is_refused():
    with pytest.raises(DataError, match="test_1 has neither a gold standard nor raters' traces"):
        gold_standard(Recording("test_1"))
    with pytest.raises(DataError, match="test_1 has no gold standard"):
        gold_standard(Recording("test_1"), "gold")
    with pytest.raises(DataError, match="labels = 'x': is unknown"):
        gold_standard(Recording("test_1"), "x")


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_gold_standards_are_read_with_quoted_names_and_missing_values(tmp_path, quote):
    path = trees.put(tmp_path / "a.arff", trees.arff("dev_1", ["0", "0.04"], ["0.5", "?"], quote))
    np.testing.assert_array_equal(read_gold(path).gsd, [0.5, np.nan])


def test_a_gold_standard_of_too_few_columns_or_off_the_grid_is_refused(tmp_path):
    with pytest.raises(CaffeCompatError, match="has no attribute GoldStandard"):
        read_gold(
            trees.put(tmp_path / "a.arff", "@relation x\n@attribute a string\n@attribute b numeric\n@data\nx,0\n")
        )
    with pytest.raises(DataError, match=r"a.arff: time of row 2 = 0.05: is not on the grid"):
        read_gold(trees.put(tmp_path / "a.arff", trees.arff("dev_1", ["0", "0.05"], ["0", "0"])))
    with pytest.raises(CaffeCompatError, match="two raters or more"):
        read_ratings(trees.put(tmp_path / "a.csv", "time;FM1\n0;1\n"))


def test_gsd_mat_has_the_authors_form_and_the_videos_own_doubles(tmp_path):
    gold = GoldStandard(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 0.04, 0.08, np.nextafter(0.12, 1)]), tmp_path)
    write_gsd(gold, tmp_path / "gsd.mat", frame_time=[0.04, 0.12])
    held = loadmat(tmp_path / "gsd.mat")
    assert {name: values.shape for name, values in held.items()} == {"gsd": (4, 1), "time": (4, 1)}
    assert held["time"].ravel().tolist() == [0.0, 0.04, 0.08, 0.12]
    assert read_gsd(tmp_path / "gsd.mat").gsd.tolist() == [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("version", ["-v6", "-v7", "-v7.3"])
@pytest.mark.parametrize("shape", [(1, 3), (3, 1)])
def test_a_gsd_mat_of_the_users_is_read_whatever_its_version_and_orientation(tmp_path, version, shape):
    values = np.array([0.5, -0.5, 0.25])
    savemat(tmp_path / "a.mat", {"gsd": values.reshape(shape), "time": np.array([0, 0.04, 0.12])}, version=version)
    found = read_gsd(tmp_path / "a.mat")
    assert found.gsd.tolist() == [0.5, -0.5, 0.25]
    assert found.time.tolist() == [0.0, 0.04, 0.12]


def test_the_csv_holds_every_digit(tmp_path):
    gold = GoldStandard(np.array([1 / 3, np.nan]), np.array([0.0, 0.04]), tmp_path)
    write_gsd_csv(gold, tmp_path / "a.csv")
    found = read_gsd(tmp_path / "a.csv")
    np.testing.assert_array_equal(found.gsd, gold.gsd)
    assert (tmp_path / "a.csv").read_text() == "time;gsd\n0.0;0.3333333333333333\n0.04;nan\n"


def test_a_gsd_file_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"gsd": np.zeros(3), "time": np.zeros(2)})
    with pytest.raises(DataError, match="gsd has 3 values, time 2"):
        read_gsd(path)
    savemat(path, {"gsd": np.zeros((3, 2)), "time": np.zeros(6)})
    with pytest.raises(DataError, match="gsd: is 3 x 2 of float64"):
        read_gsd(path)
    savemat(path, {"valence": np.zeros(3), "time": np.zeros(3)})
    with pytest.raises(PortError, match="valence"):
        read_gsd(path)
    path.write_bytes(b"")
    with pytest.raises(PortError):
        read_gsd(path)
