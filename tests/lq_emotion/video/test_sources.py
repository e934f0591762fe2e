"""Sources: frames with the container's times, and one problem at the end instead of an error in the middle."""

import itertools
import math
import socket
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from lq_emotion.video import camera as camera_module
from lq_emotion.video import images
from lq_emotion.video.container import Video
from lq_emotion.video.frames import Selection
from lq_emotion.video.images import read_image
from lq_emotion.video.sources import Kind, SourceName, find_sources
from tests.lq_emotion.processes import ENVIRONMENT
from tests.lq_emotion.video.clips import gray_levels, number_of, write_clip, write_truncated
from tests.refusals import refused


def frames_of(path, **selection):
    with Video(str(path), Selection(**selection)) as video:
        return list(video), video


def test_times_are_those_of_the_container(tmp_path):
    times = [0, 0.04, 0.09, 0.3, 0.31, 1.0, 2.5]
    frames, video = frames_of(write_clip(tmp_path / "phone.mp4", gray_levels(7), times=times))
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-9)
    assert [frame.index for frame in frames] == list(range(7))
    assert [number_of(frame.image) for frame in frames] == list(range(7))
    assert (video.clock, video.problem, video.live) == ("container", None, False)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts", "v.avi", "v.h264"])
def test_bits_are_those_of_the_frames_own_packet(tmp_path, name):
    av = pytest.importorskip("av")
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = write_clip(tmp_path / name, gray_levels(12) + 30 * gray_levels(1), codec=codec)  # some take a few bytes
    with av.open(str(path)) as container:
        sizes = [8 * packet.size for packet in container.demux(video=0) if packet.size]
    with Video(str(path)) as video:
        bits = [frame.bits for frame in video]  # of frames that are gone by the end
    assert sorted(bits) == sorted(sizes)
    assert bits[0] == sizes[0]


def test_a_stream_without_times_counts_frames_and_says_so(tmp_path):
    frames, video = frames_of(write_clip(tmp_path / "raw.h264", gray_levels(5)))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert video.clock == "index / 25"


@pytest.mark.parametrize(("rotation", "corner"), [(0, (0, 0)), (90, (-1, 0)), (180, (-1, -1)), (-90, (0, -1))])
def test_the_video_of_a_phone_is_turned_upright(tmp_path, rotation, corner):
    frames, _ = frames_of(write_clip(tmp_path / "phone.mp4", gray_levels(3), rotation=rotation))
    assert frames[0].image.shape == ((48, 64, 3) if rotation in (0, 180) else (64, 48, 3))
    assert frames[0].image[corner].mean() > 230


def test_gray_video_and_odd_sizes_are_read(tmp_path):
    frames, _ = frames_of(write_clip(tmp_path / "gray.mkv", gray_levels(3, 37, 51), codec="ffv1", pix_fmt="gray"))
    assert frames[2].image.shape == (37, 51, 3)
    assert np.ptp(frames[2].image[-1, -1].astype(int)) == 0


def test_every_takes_every_nth_frame(tmp_path):
    frames, video = frames_of(write_clip(tmp_path / "v.mp4", gray_levels(20)), every=6)
    assert [frame.index for frame in frames] == [0, 6, 12, 18]
    assert [number_of(frame.image) for frame in frames] == [0, 6, 12, 18]
    assert video.count == 4


@pytest.mark.parametrize("options", [{"g": "10"}, {"g": "10", "x264-params": "open-gop=1:bframes=3"}, {"g": "300"}])
@pytest.mark.parametrize("name", ["v.mp4", "v.ts"])
def test_start_and_end_keep_the_numbers_and_times_of_the_whole_video(tmp_path, name, options):
    path = write_clip(tmp_path / name, gray_levels(40), options=options)
    frames, video = frames_of(path, start=0.9, end=1.21)
    assert [frame.index for frame in frames] == list(range(23, 31))
    assert [number_of(frame.image) for frame in frames] == list(range(23, 31))
    assert [frame.time for frame in frames] == pytest.approx([n / 25 for n in range(23, 31)], abs=1e-4)
    assert video.problem is None


def test_a_start_after_the_end_of_the_video_is_said(tmp_path):
    frames, video = frames_of(write_clip(tmp_path / "v.mp4", gray_levels(10)), start=60.0)
    assert not frames
    assert (video.problem.code, video.problem.field, video.problem.value) == ("out-of-range", "start", 60.0)
    assert "0.36 s" in str(video.problem)


def test_a_truncated_file_yields_its_frames_and_then_says_where_it_ends(tmp_path):
    path = write_truncated(tmp_path / "v.mkv")
    frames, video = frames_of(path)
    assert 30 < len(frames) < 70
    assert video.problem.code == "damaged-file"
    assert video.problem.file == str(path)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_file_that_lacks_less_than_a_second_says_so(tmp_path, name):
    path = write_truncated(tmp_path / name, 50, 0.9, options={"bf": "0"}, container_options={"movflags": "faststart"})
    frames, video = frames_of(path)
    assert 40 <= len(frames) <= 47
    assert (video.problem.code, video.problem.file) == ("damaged-file", str(path))
    assert f"ends after {len(frames) / 25:.2f} of 2.00 s" in str(video.problem)


@pytest.mark.parametrize("options", [{"bf": "3"}, {"bf": "0"}])
@pytest.mark.parametrize("times", ["even", "uneven", "gaps", "late"])
@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts", "v.avi", "v.flv", "v.mov"])
def test_a_complete_file_has_no_problem_and_times_that_increase(tmp_path, name, times, options):
    seconds = [number / 25 for number in range(30)]
    if times == "uneven":
        seconds = [second + number % 3 / 125 for number, second in enumerate(seconds)]
    elif times == "gaps":
        seconds = [second + 2 * (number > 9) + 3 * (number > 12) for number, second in enumerate(seconds)]
    elif times == "late":
        seconds = [second + 5 for second in seconds]
    frames, video = frames_of(write_clip(tmp_path / name, gray_levels(30), times=seconds, options=options))
    assert (len(frames), video.problem) == (30, None)
    assert all(before.time < after.time for before, after in itertools.pairwise(frames))


def test_a_file_trimmed_by_its_edit_list_is_complete(tmp_path):
    av = pytest.importorskip("av")
    path = write_clip(tmp_path / "v.mp4", gray_levels(50), options={"bf": "3"})
    with av.open(str(path)) as source, av.open(str(tmp_path / "trimmed.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts = (t - round(0.5 / packet.time_base) for t in (packet.pts, packet.dts))
                packet.stream = stream
                target.mux(packet)
    frames, video = frames_of(tmp_path / "trimmed.mp4")
    assert (len(frames), video.problem) == (37, None)


@pytest.mark.parametrize("name", ["v.ts", "v.mkv"])
def test_times_that_go_back_end_a_video_with_a_problem(tmp_path, name):
    path = write_clip(tmp_path / name, gray_levels(40), options={"bf": "0"})
    path.write_bytes(2 * path.read_bytes())
    frames, video = frames_of(path)
    assert len(frames) == 40
    assert (video.problem.code, video.problem.file) == ("damaged-file", str(path))
    assert "go back from 1.56 to 0.00 s" in str(video.problem)
    assert frames_of(path, end=1.0)[1].problem is None


def test_a_video_that_starts_late_is_not_truncated(tmp_path):
    path = write_clip(tmp_path / "v.mkv", gray_levels(10), times=[5 + n / 25 for n in range(10)])
    frames, video = frames_of(path)
    assert [frame.time for frame in frames] == pytest.approx([n / 25 for n in range(10)], abs=1e-3)
    assert (video.problem, video.count) == (None, 10)


def test_a_file_that_is_no_video_or_has_no_index_is_refused(tmp_path):
    (tmp_path / "notes.mp4").write_text("not a video at all")
    with refused("damaged-file", file="notes.mp4"):
        Video(str(tmp_path / "notes.mp4"))
    with refused("file-missing", file="gone.mp4"):
        Video(str(tmp_path / "gone.mp4"))


def test_damaged_frames_are_left_out_and_counted(tmp_path):
    path = write_clip(tmp_path / "v.mov", gray_levels(30), codec="png", pix_fmt="rgb24")
    content = bytearray(path.read_bytes())
    start = content.index(b"\x89PNG", len(content) // 2)
    content[start : start + 8] = bytes(8)
    path.write_bytes(content)
    frames, video = frames_of(path)
    assert 27 <= len(frames) <= 29
    assert [number_of(frame.image) for frame in frames] == [frame.index for frame in frames]
    assert (video.problem.code, video.problem.file) == ("damaged-file", str(path))


def test_a_stream_that_stalls_is_one_problem_after_its_frames(tmp_path):
    content = write_truncated(tmp_path / "v.ts", 60).read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.sendall(content)
                ended.wait(20)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
            with SourceName(Kind.STREAM, address).open(timeout=0.7) as source:
                frames = list(source)
        finally:
            ended.set()
            thread.join()
    assert len(frames) > 5
    assert (source.problem.code, source.problem.value) == ("interrupted", address)


def test_a_stream_that_cannot_be_reached_is_refused_without_its_password():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with refused("file-unreadable", field="source", value=f"http://127.0.0.1:{port}/x"):
        Video(f"http://user:secret@127.0.0.1:{port}/x", timeout=1)


def read_from_stdin(stdin):
    code = (
        "from lq_emotion.video.sources import find_sources\n"
        "with find_sources(['-'])[0].open() as source: print([f.index for f in source], source.problem, source.name)"
    )
    given = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    done = subprocess.run([sys.executable, "-c", code], **given, capture_output=True, env=ENVIRONMENT, check=True)
    return done.stdout.decode().strip()


def test_a_video_piped_to_stdin_is_read(tmp_path):
    path = write_clip(tmp_path / "v.mkv", gray_levels(9))
    assert read_from_stdin(path.read_bytes()) == f"{list(range(9))} None stdin"


@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="no /dev/stdin on this system")
def test_a_file_redirected_to_stdin_may_have_its_index_at_its_end(tmp_path):
    path = write_clip(tmp_path / "v.mp4", gray_levels(9))
    with path.open("rb") as stdin:
        assert read_from_stdin(stdin) == f"{list(range(9))} None stdin"


class Capture:
    """OpenCV's capture of a camera that is unplugged after some frames."""

    def __init__(self, count):
        self.count, self.released = count, False

    def isOpened(self):
        return self.count > 0

    def get(self, _property):
        return 30.0

    def read(self):
        self.count -= 1
        return (False, None) if self.count < 0 else (True, np.dstack([np.full((4, 6), c, np.uint8) for c in (1, 2, 3)]))

    def release(self):
        self.released = True


def test_a_camera_that_vanishes_is_one_problem_after_its_frames(monkeypatch):
    capture = Capture(3)
    monkeypatch.setattr(camera_module, "_open", lambda number: capture)
    ticks = iter([7.0, 7.1, 7.2, 7.3])
    with camera_module.Camera(0, clock=lambda: next(ticks)) as camera:
        frames = list(camera)
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2])
    assert frames[0].image[0, 0].tolist() == [3, 2, 1]
    assert math.isnan(frames[0].bits)
    assert (camera.problem.code, camera.problem.value) == ("interrupted", "camera:0")
    assert capture.released


def test_a_camera_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(camera_module, "_open", lambda number: Capture(0))
    with refused("file-missing", field="source", value="camera:3"):
        find_sources(["camera:3"])[0].open()


def write_images(folder, names):
    for number, name in enumerate(names):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(folder / name)


def test_the_images_of_a_folder_are_one_source_in_natural_order(tmp_path):
    write_images(tmp_path, ["i2.png", "i10.png", "i1.png"])
    write_clip(tmp_path / "clip.mp4", gray_levels(2))
    (tmp_path / "notes.txt").write_text("")
    sources = find_sources([str(tmp_path)])
    assert [source.kind for source in sources] == [Kind.VIDEO, Kind.IMAGES]
    with sources[1].open() as source:
        frames = list(source)
    assert [frame.name for frame in frames] == ["i1.png", "i2.png", "i10.png"]
    assert [frame.image[0, 0, 0] for frame in frames] == [2, 0, 1]
    assert math.isnan(frames[0].time)
    assert (source.name, source.clock, source.problem) == (tmp_path.name, "none", None)


def test_a_pattern_names_what_it_matches(tmp_path):
    write_images(tmp_path, ["a1.png", "a2.png", "b1.png"])
    (source,) = find_sources([str(tmp_path / "a*.png")])
    assert [path.name for path in source.paths] == ["a1.png", "a2.png"]


def test_images_that_cannot_be_read_are_left_out_and_named(tmp_path):
    write_images(tmp_path, ["a.png", "b.png", "c.png"])
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:40])
    with find_sources([str(tmp_path)])[0].open() as source:
        assert [frame.name for frame in source] == ["a.png", "c.png"]
    assert (source.problem.code, source.problem.file) == ("damaged-file", str(tmp_path / "b.png"))


def test_photographs_are_turned_as_their_exif_data_says(tmp_path):
    image, exif = Image.new("RGB", (8, 6)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    with find_sources([str(tmp_path / "a.jpg")])[0].open() as source:
        assert next(iter(source)).image.shape == (8, 6, 3)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_gray_images_of_16_bits_keep_their_shades(tmp_path, name):
    Image.fromarray(np.array([[0, 300, 128 * 257, 65535]], np.uint16)).save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name), [[[0] * 3, [1] * 3, [128] * 3, [255] * 3]])


def write_tiff(path, pixels, *, bits=16, white_is_zero=False):
    """Write a gray TIFF of whole numbers with any number of bits."""
    height, width = pixels.shape
    text = "".join(f"{value:0{bits}b}" for value in pixels.flat) if bits == 12 else ""
    content = int(text, 2).to_bytes(len(text) // 8, "big") if text else pixels.astype("<u2").tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 0 if white_is_zero else 1, 277: 1, 278: height}
    tags |= {279: len(content), 273: 8 + 2 + 12 * 9 + 4}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + content)


def test_gray_images_of_12_bits_and_those_where_white_is_zero_keep_their_shades(tmp_path):
    write_tiff(tmp_path / "12.tif", np.array([[0, 160, 2048, 4095]]), bits=12)
    assert read_image(tmp_path / "12.tif")[0, :, 0].tolist() == [0, 10, 128, 255]
    write_tiff(tmp_path / "inverse.tif", np.array([[0, 300, 128 * 257, 65535]]), white_is_zero=True)
    assert read_image(tmp_path / "inverse.tif")[0, :, 0].tolist() == [255, 254, 127, 0]


@pytest.mark.parametrize("dtype", ["f4", "i4"])
def test_pixels_without_a_stated_range_are_refused(tmp_path, dtype):
    Image.fromarray(np.linspace(0, 250, 48).reshape(6, 8).astype(dtype)).save(tmp_path / "a.tif")
    with refused("unsupported", file="a.tif"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_a_file_of_several_images_is_refused(tmp_path, name):
    first, *others = (Image.new("RGB", (8, 6), colour) for colour in ("red", "green", "blue"))
    first.save(tmp_path / name, save_all=True, append_images=others)
    with refused("unsupported", file=name):
        read_image(tmp_path / name)


def test_photographs_with_a_second_picture_and_tiffs_with_a_preview_are_one_image(tmp_path):
    red, small = Image.new("RGB", (64, 48), (250, 0, 0)), Image.new("RGB", (8, 6))
    red.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[small])
    with TiffImagePlugin.AppendingTiffWriter(tmp_path / "a.tif", new=True) as writer:
        red.save(writer, "TIFF")
        writer.newFrame()
        small.save(writer, "TIFF", tiffinfo={254: 1})
    for name in ("a.jpg", "a.tif"):
        assert abs(read_image(tmp_path / name).astype(int) - [250, 0, 0]).max() < 8, name


@pytest.mark.parametrize("kind", ["EPS", "GIF", "PCX"])
def test_another_format_behind_the_name_of_an_image_is_not_opened(tmp_path, kind):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png", kind)
    with refused("damaged-file", file="a.png"):
        read_image(tmp_path / "a.png")


def test_every_kind_of_image_is_read_strip_by_strip(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_STRIP", 100)
    pixels = np.random.default_rng(0).integers(0, 256, (37, 51, 4), np.uint8)
    picture = Image.fromarray(pixels)
    for mode in ("RGB", "RGBA", "L", "LA", "1", "P"):
        picture.convert(mode).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(picture.convert(mode).convert("RGB")))
    Image.fromarray(pixels[..., 0].astype(np.uint16) << 8).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(pixels[..., :1], 3, 2))


def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path):
    header = struct.pack(">4sIIBBBBB", b"IHDR", 9500, 9500, 8, 2, 0, 0, 0)
    chunks = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + struct.pack(">I4s", 9, b"IDAT")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks + bytes(13))
    with refused("too-large", file="a.png"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_image(tmp_path / "a.png")


def test_sources_that_are_missing_empty_or_named_twice_are_refused(tmp_path):
    with refused("file-missing", file="gone.mp4"):
        find_sources([str(tmp_path / "gone.mp4")])
    with refused("empty"):
        find_sources([str(tmp_path)])
    with refused("empty"):
        find_sources([str(tmp_path / "*.mp4")])
    for names in ([], [""], ["camera:0", ""]):
        with refused("empty"):
            find_sources(names)
    with refused("duplicate", value="camera:0".removeprefix("camera:")):
        find_sources(["camera:0", "camera:0"])


def test_selections_of_nothing_are_refused():
    with refused("out-of-range", field="--every", value=0):
        Selection(every=0)
    with refused("out-of-range", field="--start", value=3.0):
        Selection(start=3.0, end=2.0)
