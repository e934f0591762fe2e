"""Frames over a socket: none is lost, order is kept, bits are counted, the link's rate is felt."""

import json

import numpy as np
import pytest

from caffe_compat.errors import DataError
from lq_emotion.faces.face import Face
from lq_emotion.predict import instruments as predict_instruments
from lq_emotion.studies.cloud_robotics.link.ends import robot
from lq_emotion.studies.cloud_robotics.link.loopback import loop_back
from lq_emotion.studies.cloud_robotics.link.table import Content, OperatingPoint
from tests.lq_emotion.commands import failed, run
from tests.lq_emotion.predict.instruments import DIMENSIONS, bright_squares, estimator, frames_with_squares, instruments
from tests.lq_emotion.video.clips import gray_levels, number_of, write_clip
from tests.refusals import refused

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
POINT = OperatingPoint(width=64, height=48, fps=50, codec="x264", qp=20, kbps=10.0, measure="ccc", score=0.5)


def send(frames, point=POINT, kbps=5000.0, *, patience=60.0, prepare=lambda image: image, answer=lambda _: 1):
    return loop_back(frames, point, kbps, prepare=prepare, answer=answer, patience=patience)


def test_all_frames_arrive_in_order_and_are_counted():
    numbers, bits = [], []

    def answer(frame):
        numbers.append((frame.index, number_of(frame.image)))
        bits.append(frame.bits)
        return 2

    traffic = send(gray_levels(12), answer=answer)
    assert numbers == [(number, number) for number in range(12)]
    assert [passage.bits for passage in traffic.passages] == bits
    summary = traffic.summary()
    assert (summary.captured, summary.skipped, summary.answered, summary.faces) == (12, 0, 12, 24)
    assert summary.kbps == pytest.approx(sum(bits) / (12 / 50) / 1000)
    assert summary.wire_kbps == pytest.approx(summary.kbps + 12 * 320 / (12 / 50) / 1000)


@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_times_follow_each_other(codec):
    point = OperatingPoint(**{**POINT.to_json(), "content": Content.FRAME, "codec": codec, "width": 33, "height": 25})
    traffic = send(gray_levels(4, height=25, width=33), point)
    for passage in traffic.passages:
        times = passage.captured, passage.encoded, passage.sent, passage.received, passage.decoded, passage.answered
        assert list(times) == sorted(times)
        assert 0 < passage.computing < passage.latency


def test_frames_take_at_least_their_time_on_the_link():
    traffic = send(gray_levels(4), kbps=60.0)
    total = 0.0
    for passage in traffic.passages:
        total += passage.wire_bits / 60.0
        assert 1000 * passage.sent >= total
        assert passage.latency >= passage.wire_bits / 60.0


def test_a_frame_that_would_wait_too_long_is_skipped():
    traffic = send(gray_levels(4), kbps=27.0, patience=0.1)  # the first takes 0.2 s
    assert (traffic.captured, traffic.skipped) == (4, 4 - len(traffic.passages))
    assert traffic.skipped > 0


def test_a_frame_without_a_face_is_answered_and_costs_a_header():
    seen = []
    traffic = send(gray_levels(2), prepare=lambda _: None, answer=lambda frame: seen.append(frame) or 0)
    assert seen == [None, None]
    assert [(passage.bits, passage.wire_bits) for passage in traffic.passages] == [(0, 320), (0, 320)]


@pytest.mark.parametrize(("change", "field"), [({"kbps": 6000.0}, "kbps"), ({"codec": "vp9"}, "codec")])
def test_an_impossible_sender_is_refused(change, field):
    with pytest.raises(DataError) as caught:
        send([], OperatingPoint(**{**POINT.to_json(), "content": Content.FRAME, **change}))
    assert caught.value.field == field


def test_an_error_of_either_end_ends_both():
    with refused("shape-mismatch"):
        send([np.zeros((8, 8, 3), np.uint8)])

    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send(gray_levels(200), answer=interrupted)


def test_the_robot_keeps_a_box_that_only_trembles(tmp_path):
    places = iter([8.0, 9.0, 7.0, 30.0])
    point = OperatingPoint(**{**POINT.to_json(), "width": 16, "height": 16, "content": Content.FACE})
    made = instruments(estimator(tmp_path, DIMENSIONS))
    image = np.repeat(np.arange(96, dtype=np.uint8)[None, :, None], 48, axis=0).repeat(3, axis=2)
    prepare = robot(point, made, lambda frames: [[Face(next(places), 8.0, 20.0, 20.0, 1.0)] for _ in frames])
    first, second, third, fourth = (prepare(image) for _ in range(4))
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)
    assert fourth.mean() - first.mean() == pytest.approx(22, abs=0.5)


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """A table, a video of bright squares, and a net that is asked about them."""
    point = {**POINT.to_json(), "fps": 25.0, "width": 48, "height": 24}
    (tmp_path / "table.json").write_text(
        json.dumps({"points": [point, {**point, "content": "face", "kbps": 3.0, "score": 0.4}]})
    )
    made = instruments(estimator(tmp_path, DIMENSIONS, weight=1.0), detector=bright_squares)
    monkeypatch.setattr(predict_instruments, "load_instruments", lambda _: made)
    return "--table", tmp_path / "table.json", "--loopback", write_clip(tmp_path / "clip.mp4", frames_with_squares(8))


def test_the_command_chooses_and_measures(tmp_path, inputs, capsys):
    out = tmp_path / "out"
    assert run("link", *inputs, "--kbps", 3, 14, 64, "--budget", 60_000, "--json", "--out", out) == 0
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads((out / "link.json").read_text())
    nothing, face, frame = results["rows"]
    assert (nothing["point"], nothing["measured"]) == (None, None)
    assert nothing["least_kbps"] == pytest.approx((3 + 8) / 0.9)
    assert (face["point"]["content"], frame["point"]["content"]) == ("face", "frame")
    for row in (face, frame):
        assert (row["measured"]["answered"], row["measured"]["faces"], row["measured"]["late"]) == (8, 8, 0)
    assert (out / "link.png").read_bytes().startswith(b"\x89PNG")
    assert len((out / "link.csv").read_text().splitlines()) == 4
    assert len((out / "link_frames.csv").read_text().splitlines()) == 1 + 16


def test_the_command_says_what_it_takes(inputs, capsys):
    assert run("link", *inputs[:2], "--kbps", "8..64") == 0
    shown = capsys.readouterr().out
    assert "nothing: it takes 12.22 kbit/s" in shown
    assert "face 48x24 25 fps x264 QP 20" in shown


def test_wrong_options_are_refused(tmp_path, inputs, capsys):
    large = json.loads((tmp_path / "table.json").read_text())["points"][0] | {"width": 640}
    (tmp_path / "large.json").write_text(json.dumps({"points": [large]}))
    error = failed(
        capsys, "link", "--table", tmp_path / "large.json", *inputs[2:], "--kbps", 64, "--out", tmp_path / "out"
    )
    assert "smaller" in error
    assert not (tmp_path / "out").exists()
