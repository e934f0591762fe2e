"""Tables of clips: persons, labels, splits, and errors that name file, line and field."""

import numpy as np
import pytest

from caffe_compat.errors import ProblemsError
from lq_emotion.datasets.clips.table import ClipSettings, read_clips
from tests.refusals import refused

HALVES = ClipSettings(split=(0.5, 0.5, 0))
NUMBERS = """File;Person;Start;End;Valence
anna.mp4;Anna;1;2.5;0.25
sub/anna.mp4;Anna;;;-0.5
ben.jpg;Ben;;;0
"""


def written(folder, text, name="clips.csv"):
    for file in ("anna.mp4", "sub/anna.mp4", "ben.jpg", "carl.png"):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).touch()
    (folder / name).write_text(text)
    return folder / name


def test_a_table_of_numbers_has_a_clip_for_each_row(tmp_path):
    table = read_clips(written(tmp_path, NUMBERS), HALVES)
    assert [clip.name for clip in table.clips] == ["anna_1", "sub_anna", "ben"]
    first, second, picture = table.clips
    assert (first.start, first.end, first.row.line, first.values) == (1, 2.5, 2, {"valence": 0.25})
    assert (second.start, second.end) == (0, np.inf)
    assert picture.is_image
    assert (table.dimensions, table.classes) == (("valence",), ())
    assert table.labels(first, [1, 2]).tolist() == [[0.25], [0.25]]


def test_a_table_of_classes_numbers_them_in_order(tmp_path):
    text = "file,person,label,partition\nanna.mp4,a,sad,train\nben.jpg,b,happy,train\ncarl.png,c,sad,dev\n"
    table = read_clips(written(tmp_path, text))
    assert table.names == ("happy", "sad")
    assert table.labels(table.clips[0], [0.0]).tolist() == [[1.0]]
    assert [clip.file.name for clip in table.part("dev")] == ["carl.png"]
    assert table.split is None


def test_labels_of_frames_are_linear_between_their_times_and_missing_outside(tmp_path):
    path = written(tmp_path, "file,person\nanna.mp4,a\nben.jpg,b\n")
    frames = written(
        tmp_path, "file,time,valence,arousal\nanna.mp4,1,0,4\nanna.mp4,2,1,4\nben.jpg,0,0,0\n", "frames.csv"
    )
    table = read_clips(path, ClipSettings(frame_labels=frames, split=(0.5, 0.5, 0)))
    values = table.labels(table.clips[0], [0.5, 1.25, 2.5])
    assert table.dimensions == ("valence", "arousal")
    assert values[1].tolist() == [0.25, 4]
    assert np.isnan(values[[0, 2]]).all()


def test_fields_may_be_quoted(tmp_path):
    text = 'file,person,label\n"ben.jpg","Lee, Ben",a\nanna.mp4,"Lee, Anna",a\n'
    table = read_clips(written(tmp_path, text), HALVES)
    assert {clip.person for clip in table.clips} == {"Lee, Anna", "Lee, Ben"}


def test_a_person_is_in_one_partition_and_each_partition_has_a_person():
    persons = [f"p{number}" for number in range(10)] * 2
    chosen = ClipSettings(split_seed=3).partitions(persons)
    assert sorted(chosen.values()) == ["dev"] * 2 + ["test"] * 2 + ["train"] * 6
    assert chosen == ClipSettings(split_seed=3).partitions(reversed(persons))
    assert chosen != ClipSettings(split_seed=4).partitions(persons)
    assert sorted(ClipSettings().partitions("abc").values()) == ["dev", "test", "train"]


def test_a_split_needs_a_person_for_each_partition():
    with refused("wrong-count", field="person"):
        ClipSettings().partitions("ab")
    with refused("out-of-range", field="split"):
        ClipSettings(split=(0.5, 0.4, 0.2))


HEAD = "file,person,start,end,valence,partition\n"


@pytest.mark.parametrize(
    ("text", "code", "line", "field", "value"),
    [
        ("file,valence\nben.jpg,1\n", "field-missing", 1, "person", None),
        ("file,person\nben.jpg,b\n", "field-missing", 1, None, None),
        ("file,person,label,valence\nben.jpg,b,x,1\n", "conflict", 1, "valence", None),
        (HEAD + "dora.mp4,d,,,1,train\n", "file-missing", 2, "file", "dora.mp4"),
        (HEAD + "ben.jpg,,,,1,train\n", "field-missing", 2, "person", ""),
        ('file,person,label\nben.jpg,b,"a\nb"\n', "invalid", 3, "label", "a\nb"),
        (HEAD + "ben.jpg,b,,,nan,train\n", "not-finite", 2, "valence", "nan"),
        (HEAD + "ben.jpg,b,,,1,trian\n", "name-unknown", 2, "partition", "trian"),
        (HEAD + "anna.mp4,a,3,2,1,train\n", "out-of-range", 2, "end", "2"),
        (HEAD + "anna.mp4,a,-1,2,1,train\n", "out-of-range", 2, "start", "-1"),
        (HEAD + "ben.jpg,b,1,,1,train\n", "conflict", 2, "start", "1"),
        (HEAD + "ben.jpg,b,,,1,train\nben.jpg,b,,,1,train\n", "duplicate", 3, "file", None),
        (HEAD + "anna.mp4,a,,,1,train\nanna.mp4,b,1,2,1,dev\n", "conflict", 3, "person", "b"),
        (HEAD + "anna.mp4,a,,,1,train\nben.jpg,a,,,1,dev\n", "conflict", 3, "partition", "dev"),
        ("file,person,label,partition\nben.jpg,b,x,train\ncarl.png,c,y,dev\n", "field-missing", 3, "label", "y"),
    ],
)
def test_a_problem_is_named_with_its_place(tmp_path, text, code, line, field, value):
    path = written(tmp_path, text)
    with refused(code, file=str(path), line=line, field=field) as caught:
        read_clips(path)
    if value is not None:
        assert caught.value.value == value


def test_all_problems_of_the_rows_are_reported_together(tmp_path):
    path = written(tmp_path, HEAD + "x.mp4,a,,,1,train\nben.jpg,b,,,high,train\n")
    with pytest.raises(ProblemsError) as caught:
        read_clips(path)
    assert [problem.line for problem in caught.value.problems] == [2, 3]


def test_a_table_without_held_out_persons_is_refused(tmp_path):
    path = written(tmp_path, HEAD + "ben.jpg,b,,,1,train\n")
    with refused("empty", field="partition", value="dev"):
        read_clips(path)


@pytest.mark.parametrize(
    ("text", "code", "line", "field"),
    [
        ("file,time\nanna.mp4,1\n", "field-missing", 1, None),
        ("file,time,valence\nanan.mp4,1,0\n", "name-unknown", 2, "file"),
        ("file,time,valence\nanna.mp4,1,0\nanna.mp4,1,0\n", "invalid", 3, "time"),
        ("file,time,valence\nanna.mp4,1,0\n", "field-missing", None, "file"),
    ],
)
def test_a_problem_in_the_table_of_frames_is_named_with_its_place(tmp_path, text, code, line, field):
    path = written(tmp_path, "file,person\nanna.mp4,a\nben.jpg,b\n")
    frames = written(tmp_path, text, "frames.csv")
    with refused(code, file=str(frames), line=line, field=field):
        read_clips(path, ClipSettings(frame_labels=frames, split=(0.5, 0.5, 0)))
