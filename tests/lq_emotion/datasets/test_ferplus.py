"""Both public forms of FER+, the counts of the published label file, and classes from votes."""

import numpy as np
import pytest
from PIL import Image

from lq_emotion.datasets.ferplus import DROPPED, FOLDERS, Rule, class_labels, labelled, read_ferplus
from tests.refusals import refused

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
ROWS = [
    "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",
    "Training,,0,0,0,0,0,0,0,0,0,10",
    "PublicTest,fer0000002.png,0,10,0,0,0,0,0,0,0,0",
    "PrivateTest,fer0000003.png,0,0,1,0,0,0,9,0,0,0",
]


def images():
    return np.random.default_rng(0).integers(0, 256, (len(ROWS), 48, 48), dtype=np.uint8)


def write_tables(folder):
    folder.mkdir(parents=True)
    (folder / "fer2013new.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    lines = [
        f"0,{' '.join(map(str, image.ravel()))},{row.split(',')[0]}" for image, row in zip(images(), ROWS, strict=True)
    ]
    (folder / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]) + "\n")
    return folder


def write_folders(folder, *, box):
    for name, usage in FOLDERS.items():
        (folder / name).mkdir(parents=True)
        lines = []
        for image, row in zip(images(), ROWS, strict=True):
            kind, file, votes = row.split(",", 2)
            if kind == usage and file:
                Image.fromarray(image).save(folder / name / file)
                lines.append(f'{file},"(0, 0, 48, 48)",{votes}' if box else f"{file},{votes}")
        (folder / name / "label.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_all_forms_give_the_same_images_and_votes(tmp_path):
    table = read_ferplus(write_tables(tmp_path / "a/deep").parent)
    assert table.names == ("fer0000000.png", "fer0000002.png", "fer0000003.png")
    assert table.partitions == ("train", "dev", "test")
    assert table.votes[0].tolist() == [4, 0, 0, 1, 3, 2, 0, 0, 0, 0]
    np.testing.assert_array_equal([table.image(index) for index in range(3)], images()[[0, 2, 3]])
    for box in (True, False):
        folders = read_ferplus(write_folders(tmp_path / f"b{box}", box=box))
        assert (folders.names, folders.partitions) == (table.names, table.partitions)
        np.testing.assert_array_equal(folders.votes, table.votes)
        np.testing.assert_array_equal([folders.image(index) for index in range(3)], images()[[0, 2, 3]])


def test_the_columns_of_the_images_may_stand_in_another_order(tmp_path):
    folder = write_tables(tmp_path / "a")
    lines = [line.split(",") for line in (folder / "fer2013.csv").read_text().splitlines()]
    (folder / "fer2013.csv").write_text("".join(f"{a}, {c}, {b}\n" for a, b, c in lines))
    np.testing.assert_array_equal(read_ferplus(folder).image(2), images()[3])


def test_votes_alone_can_be_read_and_the_images_are_missed_when_they_are_needed(tmp_path):
    folder = write_tables(tmp_path / "a")
    (folder / "fer2013.csv").unlink()
    data = read_ferplus(folder)
    assert labelled(data, "dev")[1].tolist() == [1]
    with refused("file-missing", file="fer2013new.csv"):
        data.image(0)


@pytest.mark.parametrize(
    ("old", "new", "code", "fields"),
    [
        (HEADER, HEADER.replace("fear", "terror"), "field-missing", {"field": "fear", "line": 1}),
        ("Training,,0", "Practice,,0", "name-unknown", {"line": 3, "field": "Usage", "value": "Practice"}),
        (",0,10,0", ",0,ten,0", "syntax", {"line": 4, "field": "happiness", "value": "ten"}),
        ("PublicTest", "Training", "mismatch", {"file": "fer2013.csv", "line": 4, "field": "Usage"}),
        ("Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\n", "", "wrong-count", {"file": "fer2013.csv"}),
    ],
)
def test_malformed_labels_are_refused(tmp_path, old, new, code, fields):
    folder = write_tables(tmp_path / "a")
    path = folder / "fer2013new.csv"
    path.write_text(path.read_text().replace(old, new))
    with refused(code, **fields):
        read_ferplus(folder)


def test_damaged_images_are_refused(tmp_path):
    folder = write_tables(tmp_path / "a")
    text = (folder / "fer2013.csv").read_text().splitlines()
    text[3] = text[3].replace(" ", "  999 ", 1)
    (folder / "fer2013.csv").write_text("\n".join(text))
    with refused("damaged-file", line=4, field="pixels"):
        read_ferplus(folder).image(1)
    folders = write_folders(tmp_path / "b", box=True)
    Image.new("L", (40, 48)).save(folders / "FER2013Train/fer0000000.png")
    with refused("shape-mismatch", file="fer0000000.png"):
        read_ferplus(folders).image(0)


def test_folders_that_hold_neither_form_or_both_are_refused(tmp_path):
    with refused("file-missing", file=tmp_path / "none"):
        read_ferplus(tmp_path / "none")
    with refused("file-missing"):
        read_ferplus(tmp_path)
    write_folders(tmp_path / "b", box=False)
    write_tables(tmp_path / "a")
    with refused("ambiguous"):
        read_ferplus(tmp_path)
    label = tmp_path / "b/FER2013Test/label.csv"
    label.write_text(label.read_text().replace("fer0000003", "../FER2013Train/fer0000000"))
    with refused("unsafe", line=1):
        read_ferplus(tmp_path / "b")


@pytest.fixture(scope="module")
def published(reference):
    return read_ferplus(reference / "ferplus")


PARTITIONS = ("train", "dev", "test")


@pytest.mark.parametrize(
    ("rule", "seven", "eight", "test"),
    [
        (Rule.MORE_THAN_5, (21733, 2854, 2720), (21811, 2862, 2729), [936, 872, 341, 295, 219, 7, 50]),
        (Rule.MICROSOFT, (24941, 3186, 3137), (25060, 3199, 3153), [1090, 893, 396, 384, 273, 18, 83]),
        (Rule.AT_LEAST_5, (25258, 3211, 3147), (25373, 3225, 3160), [1102, 895, 402, 384, 271, 15, 78]),
        (Rule.PLURALITY, (26778, 3372, 3350), (26940, 3396, 3376), [1166, 909, 421, 424, 316, 22, 92]),
    ],
)
def test_counts_of_the_published_labels(published, rule, seven, eight, test):
    parts = {partition: labelled(published, partition, rule=rule)[1] for partition in PARTITIONS}
    assert tuple(map(len, parts.values())) == seven
    assert np.bincount(parts["test"]).tolist() == test
    all_classes = [len(labelled(published, partition, rule=rule, classes=8)[1]) for partition in PARTITIONS]
    assert tuple(all_classes) == eight


def test_a_random_split_is_of_the_official_size_and_the_same_under_every_rule(published):
    assert len(published.names) == 35714  # 35,887 rows less 173 without an image
    parts = [set(labelled(published, name, split="random", seed=4)[0].tolist()) for name in PARTITIONS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 21733 + 2854 + 2720
    assert [round(len(part) / 27307, 2) for part in parts] == [0.8, 0.1, 0.1]
    wider, _ = labelled(published, "test", rule=Rule.PLURALITY, split="random", seed=4)
    assert parts[2] <= set(wider.tolist())
    other, _ = labelled(published, "test", split="random", seed=5)
    assert parts[2] != set(other.tolist())
    with refused("name-unknown", field="split", value="half"):
        labelled(published, "test", split="half")


# Patterns of the published table, with values worked out by hand.
# neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, not a face
CLEAR = (9, 0, 0, 1, 0, 0, 0, 0, 0, 0)
HALF = (5, 0, 0, 3, 1, 0, 0, 0, 1, 0)
TIED = (0, 5, 5, 0, 0, 0, 0, 0, 0, 0)
FOUR = (4, 0, 0, 1, 3, 2, 0, 0, 0, 0)
UNKNOWN = (2, 1, 0, 0, 0, 0, 0, 0, 7, 0)
NO_FACE = (0, 0, 0, 0, 0, 0, 0, 0, 0, 10)
CONTEMPT = (0, 0, 0, 0, 2, 1, 0, 7, 0, 0)
VOTES = [CLEAR, HALF, TIED, FOUR, UNKNOWN, NO_FACE, CONTEMPT]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule.MORE_THAN_5, [0, -1, -1, -1, -1, -1, 7]),
        (Rule.MICROSOFT, [0, 0, -1, -1, -1, -1, 7]),  # HALF: 5 of the 8 that are not single
        (Rule.AT_LEAST_5, [0, 0, 1, -1, -1, -1, 7]),
        (Rule.PLURALITY, [0, 0, -1, 0, -1, -1, 7]),
    ],
)
def test_each_rule_reads_majority_in_its_own_way(rule, expected):
    assert class_labels(VOTES, rule, classes=8).tolist() == expected
    assert class_labels(VOTES, rule, classes=7).tolist() == [*expected[:6], DROPPED]


def test_votes_of_another_shape_and_other_numbers_of_classes_are_refused():
    with refused("shape-mismatch", field="votes"):
        class_labels([(1, 2, 3)], Rule.PLURALITY)
    with refused("out-of-range", field="classes", value=6):
        class_labels(VOTES, Rule.PLURALITY, classes=6)
