"""`prepare_dataset` equals its transcription in tests/reference on a recording that reaches every branch."""

import logging
import threading

import numpy as np
import pytest

from matlab_ports.__main__ import main
from matlab_ports._recordings.prepare_recording import read_ahead
from matlab_ports._support.frame_time import frame_time
from matlab_ports.matfile import loadmat, savemat
from matlab_ports.prepare_dataset import prepare_dataset, prepare_recording
from tests.reference import matlab_prepare_dataset as reference
from tests.refusals import refused
from tests.videos import random_frames, write_video

HEIGHT, WIDTH, SIDE = 140, 160, 24
BOXES = {
    "inside": (20, 10, 110, 120),
    "fractional": (20.3, 10.7, 110.4, 120.9),
    "a whole edge by a fraction": (19.000001, 10, 101.5, 110),
    "exactly 100 wide": (20, 10, 100, 120),
    "exactly 100 high": (20, 10, 120, 100),
    "just over 100": (20, 10, 100.001, 100.001),
    "small": (20, 10, 60, 120),
    "no face": (0, 0, 0, 0),
    "sums to zero": (-150, -100, 130, 120),
    "over the left edge": (-30.5, 10, 120, 110),
    "over the top edge": (10, -20.2, 120, 110),
    "over the right edge": (90.5, 10, 140, 110),
    "over the bottom edge": (10, 60, 120, 110.5),
    "over all edges": (-10, -10, 300, 300),
}
USABLE = [name for name, (x, y, w, h) in BOXES.items() if x + y + w + h != 0 and w > 100 and h > 100]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A tree with one lossless video: a frame for every box, and times with a gap of two dropped frames."""
    root = tmp_path_factory.mktemp("recording")
    frames = random_frames(len(BOXES), HEIGHT, WIDTH)
    ticks = [k + 2 * (k > 4) for k in range(len(BOXES))]
    for folder in ("avec/recordings_video", "avec/recordings_video_frame_time", "root/data/bbox", "root/data/gsd"):
        (root / folder).mkdir(parents=True)
    write_video(root / "v.mkv", frames, ticks=ticks)
    (root / "v.mkv").rename(root / "avec/recordings_video/dev_1.mp4")
    text = "frame;time\n" + "".join(f"{k};{0.04 * tick:.2f};x\n" for k, tick in enumerate(ticks))
    (root / "avec/recordings_video_frame_time/dev_1.csv").write_text(text)
    times = np.array([float(f"{0.04 * k:.2f}") for k in range(len(BOXES) + 5)])
    bbox = np.zeros((len(times), 4))
    bbox[ticks] = list(BOXES.values())
    gsd = np.sin(times)[:, None]
    savemat(root / "root/data/bbox/dev_1.mat", {"bbox": bbox, "time": times[:, None]})
    savemat(root / "root/data/gsd/dev_1.mat", {"gsd": gsd, "time": times[:, None]})
    return {"root": root, "frames": frames, "text": text, "bbox": bbox, "gsd": gsd.ravel(), "times": times}


def run(recording, target, **options):
    target.mkdir(exist_ok=True)
    root = recording["root"]
    return prepare_dataset(root / "avec", root / "root", file_name=["dev_1"], save_dir=target, imSize=SIDE, **options)


@pytest.mark.parametrize("lr", [1, 3, 5])
def test_every_branch_returns_the_scripts_bits(recording, tmp_path, lr):
    (prepared,) = run(recording, tmp_path / "out", lr=lr)
    expected = reference.prepare(
        recording["frames"], recording["text"], recording["bbox"], recording["times"], recording["gsd"],
        recording["times"], side=SIDE, lr=lr,
    )  # fmt: skip
    variables = loadmat(tmp_path / "out" / "dev_1.mat")
    assert list(variables) == ["video", "valence", "video_time"]
    for (name, values), exact in zip(variables.items(), expected, strict=True):
        assert values.dtype == np.float64, name
        np.testing.assert_array_equal(values, exact)
    assert prepared[1:6] == (len(BOXES), len(USABLE), 2, 3, False)


def arguments(recording, **changes):
    times = frame_time(recording["root"] / "avec/recordings_video_frame_time/dev_1.csv")
    inputs = {
        "video": recording["root"] / "avec/recordings_video/dev_1.mp4", "frame_time": times, "bbox": recording["bbox"],
        "bbox_time": recording["times"], "gsd": recording["gsd"], "gsd_time": recording["times"], "imSize": SIDE,
    }  # fmt: skip
    return inputs | changes


def prepare(inputs):
    return prepare_recording(inputs.pop("video"), inputs.pop("frame_time"), **inputs)


def assert_same_video(path, other):
    np.testing.assert_array_equal(loadmat(path)["video"], loadmat(other)["video"])


def test_factors_decoded_together_equal_those_decoded_alone(recording, tmp_path):
    together = {1: tmp_path / "a.mat", 3: tmp_path / "b.mat", 5: tmp_path / "c.mat"}
    prepare(arguments(recording, save=together))
    for scale, path in together.items():
        run(recording, tmp_path / f"out{scale}", lr=scale)
        assert_same_video(path, tmp_path / f"out{scale}" / "dev_1.mat")


def test_times_with_rounding_errors_match_on_the_grid_only(recording, tmp_path):
    shifted = recording["times"] + 1e-9
    with refused("mismatch", file="dev_1.mp4", hint="match='grid'"):
        prepare(arguments(recording, bbox_time=shifted, save={1: tmp_path / "x.mat"}))
    prepare(arguments(recording, bbox_time=shifted, match="grid", save={1: tmp_path / "x.mat"}))
    run(recording, tmp_path / "exact")
    assert_same_video(tmp_path / "x.mat", tmp_path / "exact" / "dev_1.mat")


def without_row(array, row):
    return np.delete(array, row, axis=0)


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        (lambda r: {"bbox": without_row(r["bbox"], 3), "bbox_time": without_row(r["times"], 3)}, "mismatch", None),
        (lambda r: {"gsd": without_row(r["gsd"], 3), "gsd_time": without_row(r["times"], 3)}, "mismatch", None),
        (lambda r: {"gsd_time": r["times"] + 1, "bbox_time": r["times"] + 1}, "mismatch", None),
        (lambda r: {"gsd_time": np.r_[r["times"][:-1], 0.08]}, "mismatch", None),
        (lambda r: {"gsd": np.where(r["times"] == 0.04, np.nan, r["gsd"])}, "not-finite", "gsd"),
        (lambda r: {"bbox": r["bbox"][:, :3]}, "shape-mismatch", "bbox"),
        (lambda r: {"gsd": r["gsd"][:4]}, "wrong-count", "gsd"),
        (lambda r: {"bbox": 0 * r["bbox"]}, "empty", "bbox"),
        (lambda r: {"bbox": r["bbox"] + [500, 0, 0, 0]}, "out-of-range", "bbox"),
        (lambda r: {"bbox": r["bbox"] * [np.nan, 1, 1, 1]}, "out-of-range", "bbox"),
        (lambda _: {"frame_time": np.arange(30) * 0.04, "bbox": np.ones((30, 4)) * 105, "bbox_time": np.arange(30) * 0.04,
                    "gsd": np.ones(30), "gsd_time": np.arange(30) * 0.04}, "wrong-count", None),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_refused_and_nothing_is_written(recording, tmp_path, changes, code, field):
    (tmp_path / "old.mat").write_bytes(b"before")
    inputs = arguments(recording, save={1: tmp_path / "old.mat", 3: tmp_path / "new.mat"})
    with refused(code, file="dev_1.mp4", field=field):
        prepare(inputs | changes(recording))
    assert (tmp_path / "old.mat").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["old.mat"]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("t\n", "empty", None),
        ("a;b\n0;0\n1\n", "syntax", 3),
        ("a,b\n0,0\n", "syntax", 2),
        ("a;b\n0;0.00\n1;late\n", "syntax", 3),
        ("a;b\n0;nan\n", "not-finite", 2),
        (b"\xff\xfe\x00", "wrong-format", None),
        (None, "file-missing", None),
    ],
)
def test_a_malformed_table_of_times_is_refused_with_its_line(tmp_path, text, code, line):
    path = tmp_path / "t.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with refused(code, file="t.csv", line=line):
        frame_time(path)


def test_the_first_line_of_the_table_is_always_skipped(tmp_path):
    (tmp_path / "t.csv").write_text("0;0.00\n1;0.04\n\n2;0.12\n")
    assert frame_time(tmp_path / "t.csv").tolist() == [0.04, 0.12]


def test_frames_after_the_last_time_are_ignored_with_a_warning(recording, tmp_path, caplog):
    inputs = arguments(recording, save={1: tmp_path / "x.mat"})
    inputs["frame_time"] = inputs["frame_time"][:6]
    with caplog.at_level(logging.WARNING):
        prepared = prepare(inputs)
    assert (prepared.rows, prepared.unread) == (6, True)
    assert "dev_1.mp4 has more frames than the 6 rows" in caplog.text


def test_the_smallest_face_is_an_argument(recording, tmp_path):
    prepared = prepare(arguments(recording, smallest=50, save={1: tmp_path / "x.mat"}))
    assert (prepared.faces, prepared.too_small, prepared.no_face) == (len(USABLE) + 3, 0, 2)


def test_debug_runs_read_one_recording_and_may_write_nothing(recording):
    prepared = prepare_dataset(
        recording["root"] / "avec", recording["root"] / "root", file_name=["dev_1", "dev_2"], noDebug=0, isSave=0
    )
    assert [recording.name for recording in prepared] == ["dev_1"]


def test_the_command_runs_the_script(recording, tmp_path, capsys):
    root = recording["root"]
    words = ["prepare_dataset", "--data_path", str(root / "avec"), "--save_root", str(root / "root")]
    options = ["--file_name", "dev_1", "--save_dir", str(tmp_path), "--imSize", str(SIDE), "--lr", "3", "--version=-v6"]
    assert main([*words, *options]) == 0
    assert capsys.readouterr().out == f"dev_1: {len(USABLE)} faces in {len(BOXES)} frames\n"
    run(recording, tmp_path / "out", lr=3)
    assert_same_video(tmp_path / "dev_1.mat", tmp_path / "out" / "dev_1.mat")
    assert main(words) == 1
    assert "matlab_ports: error: " in capsys.readouterr().err


def test_the_reading_thread_ends_with_its_consumer_and_passes_errors_on():
    def numbers():
        yield from range(5)
        raise ValueError("five")

    before = threading.active_count()
    taken = []
    with pytest.raises(ValueError, match="five"):
        taken.extend(read_ahead(numbers(), 2))
    early = read_ahead(iter(range(1000)), 2)
    assert next(early) == 0
    early.close()
    assert threading.active_count() == before
