import pytest

from caffe_compat.errors import DataError
from lq_emotion.datasets.avec.layout import find_recordings, natural, partition_of, select
from tests.lq_emotion.datasets.avec import trees


def test_an_avec_tree_gives_its_recordings_in_natural_order(tmp_path):
    trees.avec(tmp_path, ["dev_10", "train_9", "test_1", "dev_2", "train_10", "train_1"])
    found = find_recordings(tmp_path)
    assert [one.name for one in found] == ["train_1", "train_9", "train_10", "dev_2", "dev_10", "test_1"]
    assert [one.partition for one in found] == ["train", "train", "train", "dev", "dev", "test"]


def test_every_file_of_a_recording_is_found_and_of_the_wanted_dimension(tmp_path):
    trees.avec(tmp_path)
    (first, _) = find_recordings(tmp_path)
    assert first.video == tmp_path / "recordings_video" / "train_1.mp4"
    assert first.frame_time == tmp_path / "recordings_video_frame_time" / "train_1.csv"
    assert first.gold == tmp_path / "ratings_gold_standard" / "valence" / "train_1.arff"
    assert first.ratings == tmp_path / "ratings_individual" / "valence" / "train_1.csv"
    assert first.boxes is None
    assert find_recordings(tmp_path, dimension="arousal")[0].gold.parent.name == "arousal"


def test_a_tree_nested_once_more_gives_the_same(tmp_path):
    plain = find_recordings(trees.avec(tmp_path / "plain"))
    nested = find_recordings(trees.avec(tmp_path / "nested", nested=True))
    assert [(one.name, one.video.name, one.gold.name, one.ratings.name) for one in nested] == [
        (one.name, one.video.name, one.gold.name, one.ratings.name) for one in plain
    ]


def test_folders_are_found_below_others_and_in_other_spelling(tmp_path):
    trees.avec(tmp_path / "AVEC_2016")
    (tmp_path / "AVEC_2016" / "ratings_gold_standard").rename(tmp_path / "Ratings-Gold-Standard")
    assert find_recordings(tmp_path)[0].gold == tmp_path / "Ratings-Gold-Standard" / "valence" / "train_1.arff"


def test_the_video_folder_itself_may_be_named(tmp_path):
    trees.avec(tmp_path)
    assert [one.name for one in find_recordings(tmp_path / "recordings_video")] == ["train_1", "dev_1"]


def test_a_test_recording_has_no_label(tmp_path):
    trees.avec(tmp_path, ["train_1", "test_1"])
    assert [one.labelled for one in find_recordings(tmp_path)] == [True, False]


def test_a_recording_without_a_video_is_listed_without_one(tmp_path):
    trees.avec(tmp_path)
    (tmp_path / "recordings_video" / "dev_1.mp4").unlink()
    found = find_recordings(tmp_path)
    assert [(one.name, one.video is None) for one in found] == [("train_1", False), ("dev_1", True)]


def test_a_recola_tree_has_participants_and_the_known_names_of_avecs_test(tmp_path):
    trees.recola(tmp_path, ["P65", "P16", "P9", "P38", "P20"])
    found = find_recordings(tmp_path)
    assert [(one.name, one.participant, one.partition) for one in found] == [
        ("test_1", "P38", "test"),
        ("test_9", "P20", "test"),
        ("P9", "P9", None),
        ("P16", "P16", None),
        ("P65", "P65", None),
    ]
    assert found[0].ratings == tmp_path / "RECOLA-Annotation" / "emotional_behaviour" / "valence" / "P38.csv"


def test_both_trees_at_once_are_refused_unless_one_is_chosen(tmp_path):
    trees.recola(trees.avec(tmp_path))
    with pytest.raises(DataError, match="holds both AVEC 2016 and RECOLA.*--layout"):
        find_recordings(tmp_path)
    assert [one.name for one in find_recordings(tmp_path, "recola")] == ["test_1", "P16"]


def test_another_folder_is_refused_with_what_is_expected(tmp_path):
    (tmp_path / "holiday").mkdir()
    with pytest.raises(DataError, match="neither an AVEC 2016 nor a RECOLA tree.*recordings_video/NAME.mp4"):
        find_recordings(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        find_recordings(tmp_path / "nowhere")


def test_one_video_twice_is_refused_with_both_places(tmp_path):
    trees.avec(tmp_path)
    trees.put(tmp_path / "old" / "recordings_video" / "dev_1.avi")
    with pytest.raises(
        DataError, match=r"'dev_1': is there twice: old/recordings_video/dev_1.avi and recordings_video/dev_1.mp4"
    ):
        find_recordings(tmp_path)


def test_boxes_beside_the_recordings_are_found_the_mat_file_first(tmp_path):
    trees.avec(tmp_path)
    for name in ("train_1.csv", "train_1.mat", "dev_1.csv"):
        trees.put(tmp_path / "bbox" / name)
    assert [one.boxes.name for one in find_recordings(tmp_path)] == ["train_1.mat", "dev_1.csv"]


def test_a_folder_of_results_below_the_tree_is_left_out(tmp_path):
    trees.avec(tmp_path)
    trees.put(tmp_path / "out" / "data" / "bbox" / "train_1.mat")
    assert find_recordings(tmp_path)[0].boxes is not None
    assert find_recordings(tmp_path, skip=[tmp_path / "out"])[0].boxes is None


def test_a_link_to_a_folder_above_does_not_go_on_for_ever(tmp_path):
    trees.avec(tmp_path / "a")
    (tmp_path / "a" / "notes").mkdir()
    (tmp_path / "a" / "notes" / "loop").symlink_to(tmp_path / "a" / "notes")
    assert len(find_recordings(tmp_path / "a")) == 2


def test_names_select_in_their_order_by_either_name(tmp_path):
    found = find_recordings(trees.recola(tmp_path))
    assert [one.name for one in select(found, ["P16", "P38", "test_1"])] == ["P16", "test_1"]
    with pytest.raises(DataError, match="'P17': there is no such recording.*did you mean 'P16'"):
        select(found, ["P17"])


def test_names_tell_the_partition_only_in_avecs_form():
    assert [partition_of(name) for name in ("train_1", "dev_12", "test_3", "P16", "train_x", "training_1")] == [
        "train", "dev", "test", None, None, None,
    ]  # fmt: skip
    assert sorted(["P2", "P10", "dev_1", "b", "train_3"], key=natural) == ["train_3", "dev_1", "P2", "P10", "b"]
