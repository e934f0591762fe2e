"""AVEC 2016 and RECOLA trees: their recordings, files, nesting and ambiguities."""

from lq_emotion.datasets.avec.layout import find_recordings, natural_order, partition_of, select_recordings
from tests.lq_emotion.datasets.avec import trees
from tests.refusals import refused


def test_the_recordings_of_an_avec_tree_are_in_natural_order(tmp_path):
    trees.avec(tmp_path, ["dev_10", "train_9", "test_1", "dev_2", "train_10", "train_1"])
    recordings = find_recordings(tmp_path)
    names = ["train_1", "train_9", "train_10", "dev_2", "dev_10", "test_1"]
    assert [recording.name for recording in recordings] == names
    assert [recording.partition for recording in recordings] == ["train", "train", "train", "dev", "dev", "test"]


def test_all_files_of_a_recording_are_found_for_each_dimension(tmp_path):
    trees.avec(tmp_path)
    (first, _) = find_recordings(tmp_path)
    assert first.video == tmp_path / "recordings_video" / "train_1.mp4"
    assert first.frame_time == tmp_path / "recordings_video_frame_time" / "train_1.csv"
    assert first.gold == tmp_path / "ratings_gold_standard" / "valence" / "train_1.arff"
    assert first.ratings == tmp_path / "ratings_individual" / "valence" / "train_1.csv"
    assert first.boxes is None
    assert find_recordings(tmp_path, dimension="arousal")[0].gold.parent.name == "arousal"


def test_nested_folders_make_no_difference(tmp_path):
    plain = find_recordings(trees.avec(tmp_path / "plain"))
    nested = find_recordings(trees.avec(tmp_path / "nested", nested=True))
    files = [[(r.name, r.video.name, r.gold.name, r.ratings.name) for r in tree] for tree in (plain, nested)]
    assert files[0] == files[1]


def test_folders_are_found_at_any_depth_and_in_any_spelling(tmp_path):
    trees.avec(tmp_path / "AVEC_2016")
    (tmp_path / "AVEC_2016" / "ratings_gold_standard").rename(tmp_path / "Ratings-Gold-Standard")
    assert find_recordings(tmp_path)[0].gold == tmp_path / "Ratings-Gold-Standard" / "valence" / "train_1.arff"


def test_the_root_may_be_the_video_folder_itself(tmp_path):
    trees.avec(tmp_path)
    assert [recording.name for recording in find_recordings(tmp_path / "recordings_video")] == ["train_1", "dev_1"]


def test_a_test_recording_has_no_label(tmp_path):
    trees.avec(tmp_path, ["train_1", "test_1"])
    assert [recording.labelled for recording in find_recordings(tmp_path)] == [True, False]


def test_a_recording_without_a_video_is_listed(tmp_path):
    trees.avec(tmp_path)
    (tmp_path / "recordings_video" / "dev_1.mp4").unlink()
    videos = {recording.name: recording.video for recording in find_recordings(tmp_path)}
    assert videos == {"train_1": tmp_path / "recordings_video" / "train_1.mp4", "dev_1": None}


def test_recola_participants_in_avecs_test_partition_get_its_names(tmp_path):
    trees.recola(tmp_path, ["P65", "P16", "P9", "P38", "P20"])
    recordings = find_recordings(tmp_path)
    assert [(recording.name, recording.participant, recording.partition) for recording in recordings] == [
        ("test_1", "P38", "test"),
        ("test_9", "P20", "test"),
        ("P9", "P9", None),
        ("P16", "P16", None),
        ("P65", "P65", None),
    ]
    assert recordings[0].ratings == tmp_path / "RECOLA-Annotation" / "emotional_behaviour" / "valence" / "P38.csv"


def test_a_folder_with_both_trees_needs_a_choice(tmp_path):
    trees.recola(trees.avec(tmp_path))
    with refused("ambiguous", file=tmp_path, hint="--layout"):
        find_recordings(tmp_path)
    assert [recording.name for recording in find_recordings(tmp_path, "recola")] == ["test_1", "P16"]


def test_other_folders_are_refused_with_the_expected_files(tmp_path):
    (tmp_path / "holiday").mkdir()
    with refused("wrong-format", file=tmp_path, hint="recordings_video/NAME.mp4"):
        find_recordings(tmp_path)
    with refused("file-missing", file="nowhere"):
        find_recordings(tmp_path / "nowhere")


def test_two_videos_of_a_recording_are_refused_with_both_paths(tmp_path):
    trees.avec(tmp_path)
    trees.put(tmp_path / "old" / "recordings_video" / "dev_1.avi")
    with refused("duplicate", field="recordings_video", value="dev_1") as failure:
        find_recordings(tmp_path)
    assert "old/recordings_video/dev_1.avi and recordings_video/dev_1.mp4" in failure.value.problem


def test_boxes_beside_the_recordings_are_found_mat_files_before_tables(tmp_path):
    trees.avec(tmp_path)
    for name in ("train_1.csv", "train_1.mat", "dev_1.csv"):
        trees.put(tmp_path / "bbox" / name)
    assert [recording.boxes.name for recording in find_recordings(tmp_path)] == ["train_1.mat", "dev_1.csv"]


def test_a_folder_of_results_below_the_tree_is_skipped(tmp_path):
    trees.avec(tmp_path)
    trees.put(tmp_path / "out" / "data" / "bbox" / "train_1.mat")
    assert find_recordings(tmp_path)[0].boxes is not None
    assert find_recordings(tmp_path, skip=[tmp_path / "out"])[0].boxes is None


def test_the_search_ends_where_a_link_points_to_a_folder_above(tmp_path):
    trees.avec(tmp_path / "a")
    (tmp_path / "a" / "notes").mkdir()
    (tmp_path / "a" / "notes" / "loop").symlink_to(tmp_path / "a" / "notes")
    assert len(find_recordings(tmp_path / "a")) == 2


def test_recordings_are_selected_by_name_or_participant_in_order(tmp_path):
    recordings = find_recordings(trees.recola(tmp_path))
    selected = select_recordings(recordings, ["P16", "P38", "test_1"])
    assert [recording.name for recording in selected] == ["P16", "test_1"]
    with refused("name-unknown", field="names", value="P17", hint="did you mean 'P16'"):
        select_recordings(recordings, ["P17"])


def test_only_avecs_names_have_a_partition():
    assert [partition_of(name) for name in ("train_1", "dev_12", "test_3", "P16", "train_x", "training_1")] == [
        "train", "dev", "test", None, None, None,
    ]  # fmt: skip
    assert sorted(["P2", "P10", "dev_1", "b", "train_3"], key=natural_order) == ["train_3", "dev_1", "P2", "P10", "b"]
