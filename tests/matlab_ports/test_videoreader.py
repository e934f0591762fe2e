"""`VideoReader` gives the coded frames in order, and one clear error for what is no whole video."""

import sys

import numpy as np
import pytest

from matlab_ports import PortError, rgb2ycbcr
from matlab_ports.videoreader import VideoReader
from tests.matlab_ports.videos import pictures, write_video

BACKENDS = ["av", "opencv"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_frames_come_in_order_and_none_is_added_for_gaps_in_the_times(tmp_path, backend):
    frames = pictures(9)
    path = write_video(tmp_path / "v.mkv", frames, ticks=[0, 1, 2, 7, 8, 20, 21, 22, 30])
    with VideoReader(path, backend=backend) as reader:
        assert (reader.height, reader.width) == (140, 160)
        np.testing.assert_array_equal(list(reader), frames)
        assert reader.frames_read == 9


@pytest.mark.parametrize("backend", BACKENDS)
def test_skipped_frames_count_and_reading_past_the_end_says_how_many_there_are(tmp_path, backend):
    frames = pictures(4)
    with VideoReader(write_video(tmp_path / "v.mkv", frames), backend=backend) as reader:
        assert reader.skip()
        assert reader.skip()
        np.testing.assert_array_equal(reader.read(), frames[2])
        reader.read()
        assert not reader.skip()
        with pytest.raises(PortError, match=r"v\.mkv: ends after 4 frames"):
            reader.read()


def test_both_backends_agree_on_h264_within_two_levels(tmp_path):
    path = write_video(tmp_path / "v.mp4", pictures(5), codec="libx264", pix_fmt="yuv420p")
    one, two = (np.array(list(VideoReader(path, backend=backend)), np.int16) for backend in BACKENDS)
    assert one.shape == (5, 140, 160, 3)
    assert np.abs(one - two).max() <= 2


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "gray"])
def test_luma_is_the_stored_plane_in_video_range(tmp_path, pix_fmt):
    gray = np.repeat(pictures(3)[..., :1], 3, axis=3)
    codec = "mjpeg" if pix_fmt == "yuvj420p" else "ffv1"
    path = write_video(tmp_path / "v.mkv", gray, codec=codec, pix_fmt=pix_fmt)
    through_rgb = np.array([rgb2ycbcr(frame)[..., 0] for frame in VideoReader(path)], np.int16)
    with VideoReader(path, planes="luma") as reader:
        luma = np.array(list(reader))
    assert luma.dtype == np.uint8
    assert np.abs(luma - through_rgb).max() <= 1


def test_opencv_is_used_where_pyav_is_absent_and_luma_says_what_it_needs(tmp_path, monkeypatch):
    frames = pictures(2)
    path = write_video(tmp_path / "v.mkv", frames)
    monkeypatch.setitem(sys.modules, "av", None)
    np.testing.assert_array_equal(list(VideoReader(path)), frames)
    for wanted in ({"planes": "luma"}, {"backend": "av"}):
        with pytest.raises(PortError, match="PyAV is not installed; pip install av"):
            VideoReader(path, **wanted)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"not a video at all" * 50, "cannot be read as a video"),
        ("cut", "cannot be read as a video"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, backend, content, message, capfd):
    path = tmp_path / "v.mp4"
    if content == "cut":
        write_video(path, pictures(5), codec="libx264", pix_fmt="yuv420p")
        path.write_bytes(path.read_bytes()[:-300])  # without its index
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(PortError, match=rf"v\.mp4: {message}"):
        VideoReader(path, backend=backend)
    assert "Traceback" not in capfd.readouterr().err


def test_sound_alone_is_no_video(tmp_path):
    av = pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
    path = tmp_path / "sound.mka"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(PortError, match="holds no video"):
        VideoReader(path)


def test_damage_in_the_middle_names_the_frame(tmp_path):
    path = write_video(
        tmp_path / "v.mp4", pictures(40), codec="libx264", pix_fmt="yuv420p", options={"tune": "zerolatency"}
    )
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    with VideoReader(path) as reader, pytest.raises(PortError, match=r"is damaged at frame \d+ .*copy it again"):
        list(reader)
    assert 5 < reader.frames_read < 40


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_codec_without_a_decoder_is_refused(tmp_path, backend):
    path = write_video(tmp_path / "v.mp4", pictures(3), codec="libx264", pix_fmt="yuv420p")
    content = path.read_bytes()
    assert content.count(b"avc1") >= 1
    path.write_bytes(content.replace(b"avc1", b"qqqq").replace(b"avcC", b"qqqC"))
    with pytest.raises(
        PortError, match=r"v\.mp4: (is coded in a way that has no decoder here|cannot be read as a video)"
    ):
        VideoReader(path, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_frames_without_measure_are_refused_at_their_header(tmp_path, backend):
    path = write_video(tmp_path / "v.avi", pictures(3), codec="rawvideo", pix_fmt="bgr24")
    content = bytearray(path.read_bytes())
    place = content.index(b"strf") + 12  # width and height in the BITMAPINFOHEADER
    content[place : place + 8] = (12000).to_bytes(4, "little") * 2
    path.write_bytes(content)
    with pytest.raises(PortError, match=r"v\.avi: declares frames of 12000 x 12000; 1 to 89478485 pixels"):
        VideoReader(path, backend=backend)
