"""WindowData: the windows drawn, their position, and errors with the line of the file."""

import cv2
import numpy as np
import pytest

from caffe_compat.data import CRand, open_source
from caffe_compat.data.window_data import Cut, Window, cut
from caffe_compat.schema import caffe_pb2 as pb
from tests.data.databases import write_mean
from tests.refusals import refused

WINDOWS = """# 0
pics/0.png
3
20
30
4
1 0.9 0 0 9 9
2 0.5 10 5 29 19
7 0.45 1 1 3 3
4 0.1 20 10 25 15
# 1
pics/1.png 3 20 30 1
3 0 5 5 8 9
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pics").mkdir()
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"pics/{number}.png"), np.full((20, 30, 3), (50 * number + 10, 20, 30), np.uint8))
    (tmp_path / "windows.txt").write_text(WINDOWS)
    return tmp_path


def layer(*, batch=8, crop=6, mirror=False, tops=("data", "label"), transform=None, **param):
    fields = {"source": "windows.txt", "batch_size": batch, "bg_threshold": 0.4} | param
    out = pb.LayerParameter(name="feed", type="WindowData", top=tops, phase="TRAIN")
    out.window_data_param.MergeFrom(pb.WindowDataParameter(**fields))
    out.transform_param.MergeFrom(pb.TransformationParameter(crop_size=crop, mirror=mirror, **(transform or {})))
    return out


def opened(folder, seed=1, **fields):
    return open_source(layer(**fields), base_dir=folder, rng=CRand(random_seed=seed))


def test_a_batch_is_background_first_then_the_fraction_of_objects(folder):
    source = opened(folder, batch=10, fg_fraction=0.35)
    assert source.shapes == {"data": (10, 3, 6, 6), "label": (10,)}
    for _ in range(5):
        labels = source.next()["label"].tolist()
        assert labels[:7] == [0] * 7
        assert set(labels[7:]) <= {1, 2}


@pytest.mark.parametrize(
    ("thresholds", "objects", "background"),
    [((0.5, 0.4), {1, 2}, 2), ((0.45, 0.45), {1, 2, 7}, 2), ((0.6, 0.5), {1}, 3), ((0.01, 0.01), {1, 2, 7, 4}, 1)],
)
def test_windows_between_the_thresholds_are_dropped(folder, thresholds, objects, background):
    source = opened(folder, batch=40, fg_fraction=1.0, fg_threshold=thresholds[0], bg_threshold=thresholds[1])
    assert set(source.next()["label"].tolist()) == objects
    assert source.cursor()["counts"].tolist() == [2, len(objects), background]


def test_cached_images_are_read_once_and_change_nothing(folder):
    plain, cached = (opened(folder, cache_images=cache, mirror=True) for cache in (False, True))
    expected = [plain.next()["data"].numpy() for _ in range(3)]
    for number, batch in enumerate(expected):
        assert np.array_equal(cached.next()["data"].numpy(), batch)
        if number == 1:
            for path in (folder / "pics").iterdir():
                path.unlink()


def test_pixels_outside_the_picture_stay_zero_after_the_mean(folder):
    (folder / "windows.txt").write_text("# 0\npics/0.png 3 20 30 2\n1 1 0 0 9 9\n1 0 0 0 9 9\n")
    actual = opened(folder, context_pad=1, transform={"mean_value": [1.0, 2.0, 3.0]}).next()["data"]
    assert actual[:, :, 0, :].abs().max() == actual[:, :, :, 0].abs().max() == 0
    assert actual[0, :, 3, 3].tolist() == [9, 18, 27]


def test_the_mean_is_the_middle_of_the_file_and_the_scale_is_the_layers_own(folder):
    mean = np.arange(3 * 10 * 10, dtype="f4").reshape(3, 10, 10)
    write_mean(folder / "mean.binaryproto", mean)
    source = opened(folder, batch=1, fg_fraction=1.0, scale=2.0, transform={"mean_file": "mean.binaryproto"})
    assert np.array_equal(
        source.next()["data"][0].numpy(), 2 * (np.float32([10, 20, 30])[:, None, None] - mean[:, 2:8, 2:8])
    )


W = Window(0, 1, 10, 20, 29, 39, 1)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # Without context the corners are taken as they are; with it the window grows about its middle.
        ({"context": 0}, Cut(10, 20, 29, 39, 8, 8)),
        ({"context": 2}, Cut(0, 10, 40, 50, 8, 8)),
        # 11 of 41 columns lie to the left: 2.1 of 8 pixels; mirrored, the padding is that of the right side.
        ({"context": 2, "window": Window(0, 1, -1, 20, 18, 39, 1)}, Cut(0, 10, 29, 50, 6, 8, 2, 0)),
        ({"context": 2, "window": Window(0, 1, -1, 20, 18, 39, 1), "mirrored": True}, Cut(0, 10, 29, 50, 6, 8, 0, 0)),
        ({"context": 0, "square": True, "window": Window(0, 1, 10, 20, 29, 29, 1)}, Cut(10, 15, 30, 35, 8, 8)),
    ],
)
def test_where_a_window_is_cut(fields, expected):
    fields = {"window": W, "context": 0, "square": False, "mirrored": False} | fields
    window, context = fields.pop("window"), fields.pop("context")
    assert cut(window, (100, 100), 8, context, **fields) == expected


def test_mirrored_windows_are_the_others_turned_round(folder):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "pics/0.png"), picture)
    (folder / "windows.txt").write_text("# 0\npics/0.png 3 20 30 2\n1 1 4 4 9 9\n1 0 4 4 9 9\n")
    plain = opened(folder, batch=1).next()["data"][0]
    assert np.array_equal(plain.numpy(), picture[4:10, 4:10].transpose(2, 0, 1))
    actual = opened(folder, batch=20, mirror=True).next()["data"]
    turned = [bool((crop == plain.flip(-1)).all()) for crop in actual]
    assert all(mirrored or bool((crop == plain).all()) for mirrored, crop in zip(turned, actual, strict=True))
    assert 0 < sum(turned) < 20


def test_a_cursor_of_other_windows_does_not_fit(folder):
    source = opened(folder, mirror=True)
    cursor = source.cursor()
    assert source.fits(cursor)
    source.reset()
    assert not source.fits(cursor | {"counts": np.array([1, 2, 3])})
    assert not source.fits(cursor | {"random": np.arange(0)})


@pytest.mark.parametrize(
    ("old", "new", "line", "code"),
    [
        ("# 0", "0", 1, "syntax"),
        ("# 1", "# 2", 11, "invalid"),
        ("\n4\n1", "\n3\n1", 10, "syntax"),
        ("\n4\n1", "\n5\n1", 11, "syntax"),
        ("5 5 8 9\n", "5 5 8", 13, "damaged-file"),
        ("2 0.5 10", "2 half 10", 8, "syntax"),
        ("1 0.9 0 0 9 9", "0 0.9 0 0 9 9", 7, "out-of-range"),
        ("png 3 20", "png 1 20", 12, "unsupported"),
        ("3 20 30 1", "3 20 x 1", 12, "syntax"),
    ],
)
def test_a_line_that_does_not_follow_the_format_is_refused(folder, old, new, line, code):
    assert old in WINDOWS
    (folder / "windows.txt").write_text(WINDOWS.replace(old, new))
    with refused(code, file=folder / "windows.txt", line=line, layer="feed"):
        opened(folder)


def test_a_missing_image_is_refused_with_its_line(folder):
    (folder / "pics/1.png").unlink()
    with refused("file-missing", file=folder / "windows.txt", line=11, layer="feed"):
        opened(folder, batch=60).next()


def test_a_window_outside_its_image_is_refused_with_its_line(folder):
    (folder / "windows.txt").write_text(WINDOWS.replace("5 5 8 9", "5 5 30 9"))
    with refused("out-of-range", file=folder / "windows.txt", line=13, layer="feed") as failure:
        opened(folder, batch=60).next()
    assert "5 5 30 9" in failure.value.problem
    assert "30 x 20 pixels" in failure.value.problem


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"crop": 0}, "field-missing", "transform_param.crop_size"),
        ({"crop_mode": "wrap"}, "name-unknown", "window_data_param.crop_mode"),
        ({"context_pad": 3}, "out-of-range", "window_data_param.context_pad"),
        ({"fg_fraction": 1.5}, "out-of-range", "window_data_param.fg_fraction"),
        ({"fg_threshold": 2.0}, "empty", "window_data_param.fg_threshold"),
        ({"bg_threshold": -1.0}, "empty", "window_data_param.bg_threshold"),
        ({"source": "gone"}, "file-missing", "window_data_param.source"),
        ({"batch": 0}, "out-of-range", "window_data_param.batch_size"),
        ({"tops": ["data"]}, "wrong-count", "top"),
        ({"transform": {"mean_value": [1, 2]}}, "wrong-count", "transform_param.mean_value"),
        ({"transform": {"mean_file": "small.binaryproto"}}, "shape-mismatch", "transform_param.mean_file"),
    ],
)
def test_invalid_definitions_are_refused(folder, fields, code, field):
    write_mean(folder / "small.binaryproto", np.zeros((3, 5, 5)))
    with refused(code, field=field):
        opened(folder, **fields)
