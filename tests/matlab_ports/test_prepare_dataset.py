"""`prepare_dataset` gives what the script gives, read line by line in tests/reference, on recordings that hit every branch."""

import logging
import threading

import numpy as np
import pytest

from matlab_ports import PortError
from matlab_ports.__main__ import main
from matlab_ports._support.frame_time import frame_time
from matlab_ports._support.read_ahead import ahead
from matlab_ports.matfile import loadmat, savemat
from matlab_ports.prepare_dataset import prepare_dataset, prepare_recording
from tests.matlab_ports.videos import pictures, write_video
from tests.reference import matlab_prepare_dataset as witness

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
KEPT = [name for name, (x, y, w, h) in BOXES.items() if x + y + w + h != 0 and w > 100 and h > 100]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A tree with one exact video: a frame for every box, but times that skip two (dropped frames)."""
    root = tmp_path_factory.mktemp("recording")
    frames = pictures(len(BOXES), HEIGHT, WIDTH)
    ticks = [k + 2 * (k > 4) for k in range(len(BOXES))]
    for folder in ("avec/recordings_video", "avec/recordings_video_frame_time", "root/data/bbox", "root/data/gsd"):
        (root / folder).mkdir(parents=True)
    write_video(root / "v.mkv", frames, ticks=ticks)
    (root / "v.mkv").rename(root / "avec/recordings_video/dev_1.mp4")
    lines = ["frame;time", *(f"{k};{0.04 * tick:.2f};x" for k, tick in enumerate(ticks))]
    text = "\n".join(lines) + "\n"
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
    return prepare_dataset(
        recording["root"] / "avec",
        recording["root"] / "root",
        file_name=["dev_1"],
        save_dir=target,
        imSize=SIDE,
        **options,
    )


@pytest.mark.parametrize("lr", [1, 3, 5])
def test_every_branch_gives_the_scripts_bits(recording, tmp_path, lr):
    (prepared,) = run(recording, tmp_path / "out", lr=lr)
    expected = witness.prepare(
        recording["frames"], recording["text"], recording["bbox"], recording["times"], recording["gsd"],
        recording["times"], side=SIDE, lr=lr,
    )  # fmt: skip
    found = loadmat(tmp_path / "out" / "dev_1.mat")
    assert list(found) == ["video", "valence", "video_time"]
    for name, wanted in zip(found, expected, strict=True):
        assert found[name].dtype == np.float64
        np.testing.assert_array_equal(found[name], wanted)
    assert prepared[1:6] == (len(BOXES), len(KEPT), 2, 3, False)


def arguments(recording, **changes):
    times = frame_time(recording["root"] / "avec/recordings_video_frame_time/dev_1.csv")
    given = {
        "video": recording["root"] / "avec/recordings_video/dev_1.mp4", "frame_time": times, "bbox": recording["bbox"],
        "bbox_time": recording["times"], "gsd": recording["gsd"], "gsd_time": recording["times"], "imSize": SIDE,
    }  # fmt: skip
    return given | changes


def prepare(given):
    return prepare_recording(given.pop("video"), given.pop("frame_time"), **given)


def test_one_decoding_makes_all_scales_with_the_bits_of_each_alone(recording, tmp_path):
    together = {1: tmp_path / "a.mat", 3: tmp_path / "b.mat", 5: tmp_path / "c.mat"}
    prepare(arguments(recording, save=together))
    for scale, path in together.items():
        run(recording, tmp_path / f"out{scale}", lr=scale)
        np.testing.assert_array_equal(loadmat(path)["video"], loadmat(tmp_path / f"out{scale}" / "dev_1.mat")["video"])


def test_times_off_by_a_rounding_match_on_the_grid_only(recording, tmp_path):
    shifted = recording["times"] + 1e-9
    with pytest.raises(PortError, match=r"bbox has no time 0, 0\.04, 0\.08, 0\.12, 0\.16 and 9 more.*match='grid'"):
        prepare(arguments(recording, bbox_time=shifted, save={1: tmp_path / "x.mat"}))
    prepare(arguments(recording, bbox_time=shifted, match="grid", save={1: tmp_path / "x.mat"}))
    run(recording, tmp_path / "exact")
    np.testing.assert_array_equal(
        loadmat(tmp_path / "x.mat")["video"], loadmat(tmp_path / "exact" / "dev_1.mat")["video"]
    )


def without(array, row):
    return np.delete(array, row, axis=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda r: {"bbox": without(r["bbox"], 3), "bbox_time": without(r["times"], 3)}, r"bbox has no time 0\.12"),
        (lambda r: {"gsd": without(r["gsd"], 3), "gsd_time": without(r["times"], 3)}, r"gsd has no time 0\.12"),
        (
            lambda r: {"gsd_time": r["times"] + 1, "bbox_time": r["times"] + 1},
            r"bbox has no time 0, .*; gsd has no time 0, ",
        ),
        (lambda r: {"gsd_time": np.r_[r["times"][:-1], 0.08]}, r"gsd has twice the time 0\.08"),
        (lambda r: {"gsd": np.where(r["times"] == 0.04, np.nan, r["gsd"])}, r"the label at 0\.04 s is not a number"),
        (lambda r: {"bbox": r["bbox"][:, :3]}, r"bbox \(19, 3\) and its 19 times are not T x 4"),
        (lambda r: {"gsd": r["gsd"][:4]}, "4 labels have 19 times"),
        (lambda r: {"bbox": 0 * r["bbox"]}, "no face is kept: 14 of 14 boxes are zero"),
        (lambda r: {"bbox": r["bbox"] + [500, 0, 0, 0]}, r"the box at 0 s, .* lies outside the frame of 160 x 140"),
        (lambda r: {"bbox": r["bbox"] * [np.nan, 1, 1, 1]}, r"the box at 0 s, \[nan, .* lies outside"),
        (lambda _: {"frame_time": np.arange(30) * 0.04, "bbox": np.ones((30, 4)) * 105, "bbox_time": np.arange(30) * 0.04,
                    "gsd": np.ones(30), "gsd_time": np.arange(30) * 0.04}, "has 14 frames, its table of times 30 rows"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_and_nothing_is_written(recording, tmp_path, changes, message):
    (tmp_path / "kept.mat").write_bytes(b"as it was")
    given = arguments(recording, save={1: tmp_path / "kept.mat", 3: tmp_path / "new.mat"})
    with pytest.raises(PortError, match=message) as caught:
        prepare(given | changes(recording))
    assert "dev_1.mp4" in str(caught.value)
    assert (tmp_path / "kept.mat").read_bytes() == b"as it was"
    assert [path.name for path in tmp_path.iterdir()] == ["kept.mat"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t\n", "holds no times"),
        ("a;b\n0;0\n1\n", "line 3 has no second column: '1'"),
        ("a,b\n0,0\n", "line 2 has no second column"),
        ("a;b\n0;0.00\n1;late\n", "line 3 has no number in column 2: 'late'"),
        ("a;b\n0;nan\n", "line 2 has the time nan"),
        (b"\xff\xfe\x00", "is no text"),
        (None, "cannot be read"),
    ],
)
def test_a_table_of_times_that_is_none_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "t.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PortError, match=rf"t\.csv: .*{message}"):
        frame_time(path)


def test_the_first_line_of_the_table_is_skipped_whatever_it_holds(tmp_path):
    (tmp_path / "t.csv").write_text("0;0.00\n1;0.04\n\n2;0.12\n")
    assert frame_time(tmp_path / "t.csv").tolist() == [0.04, 0.12]


def test_frames_after_the_last_time_are_left_and_told(recording, tmp_path, caplog):
    given = arguments(recording, save={1: tmp_path / "x.mat"})
    given["frame_time"] = given["frame_time"][:6]
    with caplog.at_level(logging.WARNING):
        prepared = prepare(given)
    assert (prepared.rows, prepared.unread) == (6, True)
    assert "dev_1.mp4 goes on after the last of 6 times" in caplog.text


def test_a_small_face_can_be_kept(recording, tmp_path):
    prepared = prepare(arguments(recording, smallest=50, save={1: tmp_path / "x.mat"}))
    assert (prepared.kept, prepared.skipped_small, prepared.skipped_no_face) == (len(KEPT) + 3, 0, 2)


def test_debug_runs_look_at_one_recording_and_need_not_write(recording):
    prepared = prepare_dataset(
        recording["root"] / "avec", recording["root"] / "root", file_name=["dev_1", "dev_2"], noDebug=0, isSave=0
    )
    assert [one.name for one in prepared] == ["dev_1"]


def test_the_script_runs_from_the_command_line(recording, tmp_path, capsys):
    given = [
        "prepare_dataset",
        "--data_path",
        str(recording["root"] / "avec"),
        "--save_root",
        str(recording["root"] / "root"),
    ]
    options = ["--file_name", "dev_1", "--save_dir", str(tmp_path), "--imSize", str(SIDE), "--lr", "3", "--version=-v6"]
    assert main([*given, *options]) == 0
    assert capsys.readouterr().out == f"dev_1: {len(KEPT)} of {len(BOXES)} faces kept\n"
    run(recording, tmp_path / "out", lr=3)
    np.testing.assert_array_equal(
        loadmat(tmp_path / "dev_1.mat")["video"], loadmat(tmp_path / "out" / "dev_1.mat")["video"]
    )
    assert main(given) == 1
    assert "matlab_ports: error: " in capsys.readouterr().err


def test_the_decoder_thread_ends_with_its_user_and_hands_on_errors():
    def numbers():
        yield from range(5)
        raise ValueError("five")

    before = threading.active_count()
    taken = []
    with pytest.raises(ValueError, match="five"):
        taken.extend(ahead(numbers(), 2))
    early = ahead(iter(range(1000)), 2)
    assert next(early) == 0
    early.close()
    assert threading.active_count() == before
