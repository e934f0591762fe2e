"""ImageData: images of a list, in order or shuffled; errors name the line of the list."""

import cv2
import numpy as np
import pytest

from caffe_compat.data import CRand, open_source
from caffe_compat.schema import caffe_pb2 as pb
from tests.data.databases import pictures
from tests.reference import caffe_data as reference
from tests.refusals import refused


def layer(*, source="list.txt", batch=3, tops=("data", "label"), crop=0, mirror=False, **param):
    out = pb.LayerParameter(name="feed", type="ImageData", top=tops, phase="TRAIN")
    out.image_data_param.MergeFrom(pb.ImageDataParameter(source=str(source), batch_size=batch, **param))
    if crop:
        out.transform_param.crop_size = crop
    if mirror:
        out.transform_param.mirror = True
    return out


def opened(folder, seed=9, **fields):
    return open_source(layer(**fields), base_dir=folder, rng=CRand(random_seed=seed))


def labels(source, batches):
    return [int(label) for _ in range(batches) for label in source.next()["label"]]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pics").mkdir()
    lines = []
    for number in range(7):
        name = f"pics/a picture {number}.png"
        cv2.imwrite(str(tmp_path / name), np.full((4, 5, 3), (number, 2 * number, 100), np.uint8))
        lines.append(f"{name} {10 * number}")
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_images_come_in_the_order_of_the_list_with_spaces_in_their_names(folder):
    source = opened(folder)
    assert source.shapes == {"data": (3, 3, 4, 5), "label": (3,)}
    batch = source.next()
    assert batch["data"][:, :, 0, 0].tolist() == [[0, 0, 100], [1, 2, 100], [2, 4, 100]]
    assert labels(source, 3) == [30, 40, 50, 60, 0, 10, 20, 30, 40]
    source.reset()
    assert labels(source, 1) == [0, 10, 20]


def test_the_shuffle_goes_on_from_the_last_one_after_every_pass(folder):
    seeds = reference.Twister(9)
    rng = reference.Twister(seeds())
    order, expected = list(range(7)), []
    for _ in range(4):
        order = reference.shuffled(order, rng)
        expected += [10 * number for number in order]
    assert labels(opened(folder, batch=4, shuffle=True), 7) == expected


def test_rand_skip_leaves_out_lines_of_the_first_pass(folder):
    skip = reference.Twister(9)() % 6
    assert skip > 0
    actual = labels(opened(folder, batch=7, rand_skip=6), 2)
    assert actual == [10 * ((skip + i) % 7) for i in range(14)]


def test_images_are_resized_and_made_gray_as_opencv_does(folder):
    picture = pictures(1, (9, 13, 3))[0]
    cv2.imwrite(str(folder / "pics/a picture 0.png"), picture)
    actual = opened(folder, batch=1, new_height=5, new_width=6).next()["data"][0].numpy()
    assert np.array_equal(actual.transpose(1, 2, 0), cv2.resize(picture, (6, 5)))
    actual = opened(folder, batch=1, is_color=False).next()["data"][0].numpy()
    assert np.array_equal(actual[0], cv2.imread(str(folder / "pics/a picture 0.png"), cv2.IMREAD_GRAYSCALE))


def test_root_folder_is_put_before_the_names(folder):
    (folder / "list.txt").write_text("a picture 3.png 1\n")
    assert opened(folder, batch=1, root_folder=f"{folder}/pics/").next()["data"][0, 0, 0, 0] == 3
    assert opened(folder, batch=1, root_folder="pics/").next()["data"][0, 0, 0, 0] == 3
    with refused("file-missing", hint="root_folder"):
        opened(folder, root_folder=f"{folder}/pics")


def test_names_are_looked_up_in_the_working_directory_then_in_the_lists_folder(folder, monkeypatch):
    other = folder / "other"
    (other / "pics").mkdir(parents=True)
    cv2.imwrite(str(other / "pics/a picture 1.png"), np.full((4, 5, 3), 200, np.uint8))
    monkeypatch.chdir(other)
    assert opened(folder).next()["data"][:, 0, 0, 0].tolist() == [0, 200, 2]


def test_negative_labels_and_windows_line_ends_are_read(folder):
    (folder / "list.txt").write_bytes(b"pics/a picture 2.png -4\r\npics/a picture 3.png +5\r\n")
    assert labels(opened(folder, batch=2), 1) == [-4, 5]


def test_names_that_are_not_utf8_are_found(folder):
    name = b"pics/\xe4.png"
    (folder / "pics" / "a picture 1.png").rename(
        folder / "pics" / name.decode("utf-8", "surrogateescape").split("/")[1]
    )
    (folder / "list.txt").write_bytes(name + b" 3\n")
    assert labels(opened(folder, batch=1), 1) == [3]


def test_a_cursor_of_another_list_does_not_fit(folder):
    source = opened(folder, shuffle=True, mirror=True)
    cursor = source.cursor()
    assert source.fits(cursor)
    none = np.arange(0)
    for part in (
        {"place": np.array([0, 8])}, {"place": np.array([7, 7])}, {"place": none}, {"order": np.zeros(7, np.int64)},
        {"order": none}, {"shuffle": none}, {"random": none}, {"random": np.full(625, -1)},
    ):  # fmt: skip
        assert not source.fits(cursor | part), part
    assert not opened(folder).fits(cursor)
    assert not source.fits(opened(folder).cursor())


def test_a_missing_image_is_refused_with_its_line(folder):
    (folder / "pics" / "a picture 2.png").unlink()
    with refused("file-missing", file=folder / "list.txt", line=3, layer="feed", hint="looked in") as failure:
        opened(folder).next()
    assert "image 'pics/a picture 2.png'" in failure.value.problem


def test_a_damaged_image_is_refused_with_its_line(folder):
    (folder / "pics" / "a picture 2.png").write_bytes(b"\x89PNG no")
    with refused("damaged-file", file=folder / "list.txt", line=3, layer="feed"):
        opened(folder).next()


def test_an_image_of_another_size_is_refused_with_its_line(folder):
    cv2.imwrite(str(folder / "pics" / "a picture 1.png"), np.zeros((4, 6, 3), np.uint8))
    with refused("shape-mismatch", file=folder / "list.txt", line=2) as failure:
        opened(folder).next()
    assert "3 x 4 x 6" in failure.value.problem
    assert "3 x 4 x 5" in failure.value.problem


@pytest.mark.parametrize("line", ["pics/a.png", "pics/my picture.png", "pics/a.png\t3", "", "a.png 1.5", " 3 "])
def test_a_line_without_a_label_is_refused(folder, line):
    (folder / "list.txt").write_text(f"pics/a picture 0.png 0\n{line}\npics/a picture 1.png 1\n")
    code = "file-unreadable" if line == " 3 " else "syntax"  # an empty name, which is the folder
    with refused(code, file=folder / "list.txt", line=2, layer="feed"):
        opened(folder).next()


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"source": "gone"}, "file-missing", "image_data_param.source"),
        ({"source": "."}, "wrong-format", "image_data_param.source"),
        ({"source": "pics/a picture 0.png"}, "wrong-format", "image_data_param.source"),
        ({"source": "empty"}, "empty", "image_data_param.source"),
        ({"batch": 0}, "out-of-range", "image_data_param.batch_size"),
        ({"new_height": 3}, "field-missing", "image_data_param.new_height"),
        ({"new_width": 3}, "field-missing", "image_data_param.new_width"),
        ({"rand_skip": 4000000000}, "out-of-range", "image_data_param.rand_skip"),
        ({"tops": ["data"]}, "wrong-count", "top"),
    ],
)
def test_invalid_definitions_are_refused(folder, fields, code, field):
    (folder / "empty").write_text("\n \n")
    with refused(code, field=field):
        opened(folder, **fields)
