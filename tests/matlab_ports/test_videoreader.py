"""`VideoReader` reads the coded frames in order, and refuses files that are not a complete video."""

import sys

import numpy as np
import pytest

from matlab_ports import rgb2ycbcr
from matlab_ports.videoreader import VideoReader
from tests.refusals import refused
from tests.videos import random_frames, write_video

BACKENDS = ["av", "opencv"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_frames_are_read_in_order_and_none_is_added_for_gaps_in_the_times(tmp_path, backend):
    frames = random_frames(9)
    path = write_video(tmp_path / "v.mkv", frames, ticks=[0, 1, 2, 7, 8, 20, 21, 22, 30])
    with VideoReader(path, backend=backend) as reader:
        assert (reader.height, reader.width) == (140, 160)
        np.testing.assert_array_equal(list(reader), frames)
        assert reader.frames_read == 9


@pytest.mark.parametrize("backend", BACKENDS)
def test_skipped_frames_count_and_reading_past_the_end_is_refused(tmp_path, backend):
    frames = random_frames(4)
    with VideoReader(write_video(tmp_path / "v.mkv", frames), backend=backend) as reader:
        assert reader.advance()
        assert reader.advance()
        np.testing.assert_array_equal(reader.read(), frames[2])
        reader.read()
        assert not reader.advance()
        with refused("out-of-range", file="v.mkv"):
            reader.read()
        assert reader.frames_read == 4


def test_both_backends_agree_on_h264_within_two_levels(tmp_path):
    path = write_video(tmp_path / "v.mp4", random_frames(5), codec="libx264", pix_fmt="yuv420p")
    first, second = (np.array(list(VideoReader(path, backend=backend)), np.int16) for backend in BACKENDS)
    assert first.shape == (5, 140, 160, 3)
    assert np.abs(first - second).max() <= 2


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "gray"])
def test_luma_is_the_stored_plane_in_video_range(tmp_path, pix_fmt):
    gray = np.repeat(random_frames(3)[..., :1], 3, axis=3)
    codec = "mjpeg" if pix_fmt == "yuvj420p" else "ffv1"
    path = write_video(tmp_path / "v.mkv", gray, codec=codec, pix_fmt=pix_fmt)
    through_rgb = np.array([rgb2ycbcr(frame)[..., 0] for frame in VideoReader(path)], np.int16)
    with VideoReader(path, planes="luma") as reader:
        luma = np.array(list(reader))
    assert luma.dtype == np.uint8
    assert np.abs(luma - through_rgb).max() <= 1


def test_opencv_is_used_without_pyav_and_luma_needs_pyav(tmp_path, monkeypatch):
    frames = random_frames(2)
    path = write_video(tmp_path / "v.mkv", frames)
    monkeypatch.setitem(sys.modules, "av", None)
    np.testing.assert_array_equal(list(VideoReader(path)), frames)
    for arguments in ({"planes": "luma"}, {"backend": "av"}):
        with refused("dependency-missing", field="backend", hint="pip install av"):
            VideoReader(path, **arguments)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "file-missing"), (b"", "empty"), (b"not a video at all" * 50, "damaged-file"), ("cut", "damaged-file")],
)
def test_a_file_that_is_not_a_video_is_refused(tmp_path, backend, content, code, capfd):
    path = tmp_path / "v.mp4"
    if content == "cut":
        write_video(path, random_frames(5), codec="libx264", pix_fmt="yuv420p")
        path.write_bytes(path.read_bytes()[:-300])  # without its index
    elif content is not None:
        path.write_bytes(content)
    with refused(code, file="v.mp4"):
        VideoReader(path, backend=backend)
    assert "Traceback" not in capfd.readouterr().err


def test_a_file_with_sound_only_is_refused(tmp_path):
    av = pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
    path = tmp_path / "sound.mka"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with refused("wrong-format", file="sound.mka"):
        VideoReader(path)


def test_damage_in_the_middle_is_refused_with_the_number_of_the_frame(tmp_path):
    path = write_video(
        tmp_path / "v.mp4", random_frames(40), codec="libx264", pix_fmt="yuv420p", options={"tune": "zerolatency"}
    )
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    with VideoReader(path) as reader, refused("damaged-file", file="v.mp4", hint="copy it again") as caught:
        list(reader)
    assert f"frame {reader.frames_read + 1}" in caught.value.problem
    assert 5 < reader.frames_read < 40


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_codec_without_a_decoder_is_refused(tmp_path, backend):
    path = write_video(tmp_path / "v.mp4", random_frames(3), codec="libx264", pix_fmt="yuv420p")
    content = path.read_bytes()
    assert content.count(b"avc1") >= 1
    path.write_bytes(content.replace(b"avc1", b"qqqq").replace(b"avcC", b"qqqC"))
    with refused("unsupported" if backend == "av" else "damaged-file", file="v.mp4"):
        VideoReader(path, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_huge_frames_are_refused_from_the_header(tmp_path, backend):
    path = write_video(tmp_path / "v.avi", random_frames(3), codec="rawvideo", pix_fmt="bgr24")
    content = bytearray(path.read_bytes())
    place = content.index(b"strf") + 12  # width and height in the BITMAPINFOHEADER
    content[place : place + 8] = (12000).to_bytes(4, "little") * 2
    path.write_bytes(content)
    with refused("too-large", file="v.avi"):
        VideoReader(path, backend=backend)
