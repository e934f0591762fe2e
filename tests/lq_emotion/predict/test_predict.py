"""From frames to rows: every frame has one, every face its own; nothing is lost, and the same comes out again."""

import csv
import io
import json
import math
import re
import time

import numpy as np
import pytest
from PIL import Image

from lq_emotion.common.processes import WorkerLostError
from lq_emotion.faces.face import Face
from lq_emotion.faces.identities import Followed
from lq_emotion.predict.analysis import Estimate, SeenFace
from lq_emotion.predict.overlay import drawn
from lq_emotion.predict.rows import csv_rows
from lq_emotion.predict.run import Outcome, predict
from lq_emotion.predict.settings import PredictSettings
from lq_emotion.quality import Condition
from lq_emotion.video import camera
from lq_emotion.video.frames import Frame, Selection
from lq_emotion.video.sources import find_sources
from tests.lq_emotion.commands import quiet
from tests.lq_emotion.predict.instruments import (
    CLASSES,
    DIMENSIONS,
    SizeCalibration,
    estimator,
    frames_with_squares,
    instruments,
)
from tests.lq_emotion.video.clips import write_clip
from tests.refusals import refused

FACE = ["face_id", "detected", "score", "face_x", "face_y", "face_w", "face_h"]
POINTS = [f"lm{number}_{axis}" for number in range(5) for axis in "xy"]


def clip(folder, frames, name="clip.mkv", **options):
    return write_clip(folder / name, frames, codec="ffv1", pix_fmt="yuv444p", **options)


def run(source, out, *estimators, settings=None, **options):
    (outcome,) = predict(
        find_sources([str(source)]), settings or PredictSettings(page=False), out,
        instruments=instruments(*estimators), say=quiet, **options,
    )  # fmt: skip
    return outcome


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_a_face_and_a_row_for_a_frame_without(tmp_path):
    path = clip(tmp_path, frames_with_squares(20, empty=range(2)), times=[0, 0.04, 0.09, *np.arange(1, 18)])
    outcome = run(path, tmp_path / "out", estimator(tmp_path, DIMENSIONS, weight=0.5))
    rows = rows_of(tmp_path / "out" / "clip.estimates.csv")
    assert list(rows[0]) == ["frame", "time", *FACE, *POINTS, "valence", "low", "high", "trusted", "why"]
    assert [row["frame"] for row in rows] == [str(number) for number in range(20)]
    assert [row["time"] for row in rows[:4]] == ["0", "0.04", "0.09", "1"]
    assert set(list(rows[0].values())[2:]) == {""}
    assert [rows[4][name] for name in FACE] == ["1", "1", "0.5", "6", "8", "16", "16"]
    assert (rows[4]["lm0_x"], rows[4]["lm4_y"]) == ("1", "2")
    assert float(rows[4]["valence"]) == pytest.approx(0.5 * 250 / 255, abs=0.01)
    assert [rows[4][name] for name in ("low", "high", "trusted", "why")] == ["", "", "", "not calibrated"]
    assert (outcome.status, outcome.frames, outcome.empty, outcome.faces, outcome.ids) == ("done", 20, 2, 18, 1)


def test_classes_have_probabilities_the_class_and_a_derived_valence(tmp_path):
    path = clip(tmp_path, frames_with_squares(3))
    run(path, tmp_path / "out", estimator(tmp_path, CLASSES, bias=(math.log(2), 0, math.log(1))))
    row = rows_of(tmp_path / "out" / "clip.estimates.csv")[0]
    assert [row[name] for name in ("p_happy", "p_sad", "p_neutral", "class")] == ["0.5", "0.25", "0.25", "happy"]
    assert float(row["valence_derived"]) == pytest.approx(0.5 * 0.81 - 0.25 * 0.63)


def test_four_faces_keep_their_ids(tmp_path):
    path = clip(tmp_path, frames_with_squares(10, squares=4, width=128))
    run(path, tmp_path / "out", estimator(tmp_path, DIMENSIONS))
    rows = rows_of(tmp_path / "out" / "clip.estimates.csv")
    assert len(rows) == 40
    for number in range(10):
        own = sorted(rows[4 * number : 4 * number + 4], key=lambda row: float(row["face_x"]))
        assert [row["face_id"] for row in own] == ["1", "2", "3", "4"]


def test_the_columns_of_several_nets_begin_with_their_names(tmp_path):
    path = clip(tmp_path, frames_with_squares(2))
    nets = estimator(tmp_path, DIMENSIONS, name="a", bias=(0.5,)), estimator(tmp_path, CLASSES, name="b")
    run(path, tmp_path / "out", *nets)
    row = rows_of(tmp_path / "out" / "clip.estimates.csv")[0]
    assert row["a.valence"] == "0.5"
    assert {"a.why", "b.p_happy", "b.class", "b.valence_derived", "b.trusted"} <= row.keys()


@pytest.mark.parametrize("abstain", [False, True])
def test_what_is_not_trusted_says_why_and_is_left_empty_on_request(tmp_path, abstain):
    frames = frames_with_squares(2)
    frames[1][8:14] = 40  # a face of 10 pixels
    net = estimator(tmp_path, DIMENSIONS, bias=(0.5,), calibration=SizeCalibration(("valence",)))
    run(clip(tmp_path, frames), tmp_path / "out", net, settings=PredictSettings(page=False, abstain=abstain))
    names = ("valence", "low", "high", "trusted", "why")
    rows = [[row[name] for name in names] for row in rows_of(tmp_path / "out" / "clip.estimates.csv")]
    assert rows[0] == ["0.5", "0.25", "0.75", "1", ""]
    assert rows[1] == ["" if abstain else "0.5", "0.25", "0.75", "0", "face is 10 px"]


def test_images_have_names_no_times_and_no_common_ids(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(frames_with_squares(3, squares=2)):
        Image.fromarray(image).save(folder / f"p{number}.png")
    outcome = run(folder, None, estimator(tmp_path, DIMENSIONS), settings=PredictSettings(overlay=True))
    rows = rows_of(folder / "photos.estimates.csv")
    assert [(row["file"], row["time"], row["face_id"]) for row in rows[:3]] == [
        ("p0.png", "", "1"), ("p0.png", "", "2"), ("p1.png", "", "1"),
    ]  # fmt: skip
    assert sorted(path.name for path in (folder / "photos.overlay").iterdir()) == [f"p{n}.png.png" for n in range(3)]
    assert outcome.clock == "none"


def test_json_lines_are_flushed_frame_by_frame(tmp_path):
    class Stream(io.StringIO):
        flushed = ()

        def flush(self):
            self.flushed += (self.getvalue().count("\n"),)

    path, stream = clip(tmp_path, frames_with_squares(4, squares=2, empty=(0,))), Stream()
    outcome = run(path, None, estimator(tmp_path, DIMENSIONS, bias=(0.5,)), lines=stream)
    assert stream.flushed == (1, 3, 5, 7)
    objects = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert objects[0]["source"] == "clip.mkv"
    assert (objects[0]["valence"], objects[1]["valence"], objects[1]["detected"]) == (None, 0.5, True)
    assert outcome.files == ()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["clip.mkv", "net.caffemodel"]


def test_the_overlay_has_the_frames_and_the_times_of_the_video(tmp_path):
    av = pytest.importorskip("av")
    times = [0, 0.04, 0.09, 0.3, 0.31, 1.0]
    path = clip(tmp_path, frames_with_squares(6, height=47, width=95), times=times)
    run(path, None, estimator(tmp_path, CLASSES), settings=PredictSettings(overlay=True, page=False))
    with av.open(str(tmp_path / "clip.overlay.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-4)
    assert (frames[0].width, frames[0].height) == (96, 48)


@pytest.mark.parametrize("top", [3, 10])
def test_the_values_of_a_face_that_fills_a_small_frame_are_drawn_inside_it(tmp_path, top):
    net = estimator(tmp_path, CLASSES)
    estimate = Estimate(np.array([1, 0, 0], np.float32), None)
    followed = Followed(Face(40, top, 30, 56 - top, 1.0), 1, detected=True)
    seen = SeenFace(followed, Condition(30, 1.0, 1.0, 90.0, 1.0), (estimate,))
    frame = Frame(0, 0.0, np.full((60, 108, 3), 90, np.uint8))
    image = drawn(frame, [seen], [net])
    assert (image[:, 75:] != 90).sum() > 50  # right of the box there are letters only


def test_the_page_names_the_limits_and_says_that_it_estimates(tmp_path):
    path = clip(tmp_path, frames_with_squares(30, empty=(3,)))
    nets = estimator(tmp_path, CLASSES, name="classes"), estimator(tmp_path, DIMENSIONS, name="dimensions")
    run(path, None, *nets, settings=PredictSettings())
    page = (tmp_path / "clip.estimates.html").read_text(encoding="utf-8")
    assert "An estimate is not what a person feels" in page
    assert page.count("none: it is made up") == 2
    assert page.count("<img") == 3
    assert "is not calibrated" in page


def test_a_video_without_faces_has_rows_and_a_page(tmp_path):
    outcome = run(clip(tmp_path, frames_with_squares(3, empty=range(3))), None, estimator(tmp_path, CLASSES),
                  settings=PredictSettings(overlay=True))  # fmt: skip
    assert (outcome.status, outcome.empty, len(outcome.files)) == ("done", 3, 3)


def test_the_same_command_does_not_do_its_work_again_and_other_settings_do(tmp_path):
    path, net = clip(tmp_path, frames_with_squares(5)), estimator(tmp_path, DIMENSIONS)
    first, second = run(path, None, net), run(path, None, net)
    assert (first.before, second.before, second.faces) == (False, True, 5)
    assert not run(path, None, net, settings=PredictSettings(page=False, selection=Selection(every=2))).before
    (tmp_path / "clip.estimates.csv").unlink()
    assert not run(path, None, net).before


@pytest.mark.parametrize(("name", "rows"), [("clip.estimates.csv", False), ("clip.overlay.mp4", True)])
def test_a_file_of_someone_else_is_not_overwritten_even_once_there_are_rows(tmp_path, name, rows):
    path, net = clip(tmp_path, frames_with_squares(2)), estimator(tmp_path, DIMENSIONS)
    assert not rows or run(path, None, net).status == "done"
    (tmp_path / name).write_text("mine")
    outcome = run(path, None, net, settings=PredictSettings(overlay=rows, page=False))
    assert (outcome.status, (tmp_path / name).read_text()) == ("failed", "mine")


def test_a_link_in_place_of_unfinished_rows_is_not_followed(tmp_path):
    path = clip(tmp_path, frames_with_squares(2))
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "clip.estimates.csv.unfinished").symlink_to(tmp_path / "mine.txt")
    assert run(path, None, estimator(tmp_path, DIMENSIONS)).status == "failed"
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_overlay_is_no_source_of_the_next_run(tmp_path):
    path = clip(tmp_path, frames_with_squares(2))
    run(path, None, estimator(tmp_path, DIMENSIONS), settings=PredictSettings(overlay=True, page=False))
    assert (tmp_path / "clip.overlay.mp4").is_file()
    assert [source.files for source in find_sources([str(tmp_path)])] == [(path,)]
    assert find_sources([str(tmp_path / "clip.overlay.mp4")])[0].files


def test_rows_that_another_process_is_writing_are_left_to_it(tmp_path):
    pytest.importorskip("fcntl")
    path = clip(tmp_path, frames_with_squares(4))
    net = estimator(tmp_path, DIMENSIONS)
    with csv_rows(tmp_path / "clip.estimates.csv", [("frame", "int")]) as write:
        outcome = run(path, None, net)
        write([(0,)])
    assert (outcome.status, "another process is writing this file" in outcome.error) == ("failed", True)
    assert (tmp_path / "clip.estimates.csv").read_text() == "frame\n0\n"


def test_a_run_empties_the_rows_that_a_killed_one_left(tmp_path):
    (tmp_path / "clip.estimates.csv.unfinished").write_text("frame,time\n0,")
    assert run(clip(tmp_path, frames_with_squares(4)), None, estimator(tmp_path, DIMENSIONS)).status == "done"
    assert len(rows_of(tmp_path / "clip.estimates.csv")) == 4


def test_rows_that_another_process_completes_at_this_moment_are_not_emptied(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="no locks of files on this system")
    path = tmp_path / "clip.estimates.csv"
    lock = fcntl.flock

    def complete(file, flags):
        (tmp_path / "clip.estimates.csv.unfinished").write_text("frame\n0\n")
        (tmp_path / "clip.estimates.csv.unfinished").rename(path)
        lock(file, flags)

    monkeypatch.setattr(fcntl, "flock", complete)
    with refused("conflict", file="clip.estimates.csv.unfinished"), csv_rows(path, [("frame", "int")]):
        pass
    assert path.read_text() == "frame\n0\n"


def test_the_page_takes_any_name_of_an_image(tmp_path):
    for name in ("a$\\foo$.png", "\u4eba.png"):
        Image.fromarray(frames_with_squares(1)[0]).save(tmp_path / name)
    outcome = run(tmp_path, tmp_path / "out", estimator(tmp_path, CLASSES), settings=PredictSettings())
    assert (outcome.status, outcome.faces) == ("done", 2)


def test_a_truncated_video_keeps_its_rows_and_is_incomplete(tmp_path):
    path = clip(tmp_path, frames_with_squares(100))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    outcome = run(path, None, estimator(tmp_path, DIMENSIONS))
    assert outcome.status == "incomplete"
    assert str(path) in outcome.error
    assert len(rows_of(tmp_path / "clip.estimates.csv")) == outcome.frames > 20


def test_a_camera_that_vanishes_keeps_its_rows_and_its_page(tmp_path, monkeypatch):
    frames = iter(frames_with_squares(4))

    class Capture:
        def isOpened(self):
            return True

        def get(self, _property):
            return 0.0

        def read(self):
            time.sleep(0.3)  # slower than the nets: no frame is left out
            frame = next(frames, None)
            return frame is not None, frame

        def release(self):
            pass

    monkeypatch.setattr(camera, "_open", lambda number: Capture())
    outcome = run("camera:0", tmp_path / "out", estimator(tmp_path, DIMENSIONS), settings=PredictSettings())
    assert (outcome.status, outcome.frames, outcome.faces, outcome.clock) == ("incomplete", 4, 4, "arrival")
    assert "camera:0" in outcome.error
    rows, page = outcome.files
    assert re.fullmatch(r"camera-0-\d{8}T\d{6}Z\.estimates\.csv", rows.name)
    assert len(rows_of(rows)) == 4
    assert page.is_file()


def test_a_source_that_fails_does_not_stop_the_others(tmp_path):
    good = clip(tmp_path, frames_with_squares(2), "good.mkv")
    bad = tmp_path / "bad.mkv"
    bad.write_text("no video")
    net = instruments(estimator(tmp_path, DIMENSIONS))
    settings = PredictSettings(page=False)
    outcomes = predict(find_sources([str(bad), str(good)]), settings, tmp_path / "out", instruments=net, say=quiet)
    assert [outcome.status for outcome in outcomes] == ["failed", "done"]
    assert not (tmp_path / "out" / "bad.estimates.csv").exists()


def test_whatever_a_source_raises_the_others_go_on(tmp_path, monkeypatch):
    names = [str(clip(tmp_path, frames_with_squares(2), name)) for name in ("a.mkv", "b.mkv")]
    net, count = instruments(estimator(tmp_path, DIMENSIONS)), iter(range(2))
    detector_of = net.detector_of

    def fails_once(*args):
        if next(count) == 0:
            raise RuntimeError("a fault of ours")
        return detector_of(*args)

    monkeypatch.setattr(type(net), "detector_of", lambda self, *args: fails_once(*args))
    outcomes = predict(find_sources(names), PredictSettings(page=False), instruments=net, say=quiet)
    assert [outcome.status for outcome in outcomes] == ["failed", "done"]
    assert "RuntimeError: a fault of ours" in outcomes[0].error


def test_frames_a_day_apart_have_an_overlay(tmp_path):
    path = clip(tmp_path, frames_with_squares(3), times=[0, 1, 100_000])
    settings = PredictSettings(overlay=True, page=False)
    outcome = run(path, None, estimator(tmp_path, DIMENSIONS), settings=settings)
    assert (outcome.status, outcome.frames) == ("done", 3)
    assert (tmp_path / "clip.overlay.mp4").is_file()


def test_a_worker_that_is_lost_fails_its_sources_alone(tmp_path, monkeypatch):
    paths = [clip(tmp_path, frames_with_squares(1), name) for name in ("a.mkv", "b.mkv", "c.mkv")]

    def as_done(jobs, task, arguments):
        yield 1, Outcome("b", "done")
        raise WorkerLostError("a process was lost", code="worker-lost")

    monkeypatch.setattr("lq_emotion.common.jobs.as_done", as_done)
    outcomes = predict(find_sources([str(path) for path in paths]), jobs=2, say=quiet)
    assert [(outcome.name, outcome.status) for outcome in outcomes] == [("a", "failed"), ("b", "done"), ("c", "failed")]


def test_boxes_of_a_file_take_the_place_of_a_detector(tmp_path):
    from lq_emotion.predict.instruments import Instruments

    path = clip(tmp_path, frames_with_squares(4))
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("time,left,top,width,height\n0,11,6,20,21\n0.04,11,6,20,21\n0.04,41,6,10,10\n0.08,0,0,0,0\n")
    net = Instruments((estimator(tmp_path, DIMENSIONS),), None)
    settings = PredictSettings(page=False, detector=str(boxes))
    predict(find_sources([str(path)]), settings, instruments=net, say=quiet)
    rows = rows_of(tmp_path / "clip.estimates.csv")
    assert [(row["frame"], row["face_id"], row["face_x"], row["face_h"]) for row in rows] == [
        ("0", "1", "10", "21"), ("1", "1", "10", "21"), ("1", "2", "40", "10"), ("2", "", "", ""), ("3", "", "", ""),
    ]  # fmt: skip


def test_parquet_holds_the_same_rows(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow (the extra `parquet`)")
    path, net = clip(tmp_path, frames_with_squares(6, empty=(2,))), estimator(tmp_path, CLASSES)
    run(path, None, net)
    run(path, None, net, settings=PredictSettings(page=False, form="parquet"))
    table = parquet.read_table(tmp_path / "clip.estimates.parquet").to_pydict()
    rows = rows_of(tmp_path / "clip.estimates.csv")
    assert list(table) == list(rows[0])
    assert table["class"] == [row["class"] or None for row in rows]
    assert table["face_x"] == [float(row["face_x"]) if row["face_x"] else None for row in rows]


def test_settings_that_cannot_work_are_refused_before_anything_is_written(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        clip(tmp_path / folder, frames_with_squares(1))
    net, out = instruments(estimator(tmp_path, DIMENSIONS)), tmp_path / "out"
    both = find_sources([str(tmp_path / "a"), str(tmp_path / "b")])
    with refused("conflict", file="clip.estimates.csv"):
        predict(both, PredictSettings(), out, instruments=net)
    with refused("name-unknown", field="--detector", value="viola"):
        predict(both, PredictSettings(detector="viola"), instruments=net)
    with refused("conflict", field="--jobs"):
        predict(find_sources(["camera:0", str(tmp_path / "a")]), PredictSettings(), jobs=2)
    assert not out.exists()
