"""Degraded video: smaller, coded, fewer frames, each at its own time."""

import json
from fractions import Fraction

import numpy as np
import pytest

from lq_emotion.video.degrade import DegradeSettings, degrade, degrade_video
from lq_emotion.video.encode import encode
from lq_emotion.video.frames import thin
from matlab_ports.imresize import imresize
from tests import videos
from tests.lq_emotion.commands import run
from tests.lq_emotion.video.clips import gray_levels, psnr, write_clip, write_truncated
from tests.refusals import refused

av = pytest.importorskip("av")
RED, GREEN, BLUE = (220, 40, 40), (30, 200, 60), (40, 60, 210)


def stripes(count=6, height=48, width=72):
    """Three bright stripes that move down."""
    colours = np.array([RED, GREEN, BLUE], np.uint8)
    rows = (np.arange(height)[None] + 2 * np.arange(count)[:, None]) * 3 // height % 3
    return np.repeat(colours[rows][:, :, None], width, axis=2)


def waves(count=6):
    """Smooth waves that move: chroma of half the resolution loses little of them."""
    y, x = np.mgrid[:48, :72] / 10
    values = [np.stack([np.sin(x + t), np.cos(y - t), np.sin(x + y)], axis=-1) for t in np.arange(count) / 5]
    return np.round(128 + 70 * np.array(values)).astype(np.uint8)


def write_video(path, frames, times, base=Fraction(1, 1000), codec="libx264"):
    """Write frames (T, H, W, 3) at their times, in units of `base`."""
    options = {"qp": "4", "threads": "1"}
    return videos.write_video(
        path, frames, codec=codec, pix_fmt="yuv444p", rate=None, tick=base, ticks=times, options=options
    )


def read_video(path):
    with av.open(str(path)) as container:
        return [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("codec", ["x264", "x265", "vp9"])
def test_colour_stays_colour(codec):
    frames = stripes()
    decoded = encode(frames, codec, qp=4).decoded
    assert decoded.shape == frames.shape
    for t, row, colour in ((0, 8, RED), (0, 24, GREEN), (0, 40, BLUE), (5, 6, GREEN)):
        assert np.abs(decoded[t, row, 30].astype(int) - colour).max() <= 12


@pytest.mark.parametrize("shape", [(3, 13, 7), (4, 6, 6), (2, 33, 24)])
@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_colour_frames_of_any_size_are_coded(codec, shape):
    frames = np.full((*shape, 3), RED, np.uint8)
    decoded = encode(frames, codec, qp=10).decoded
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - RED).max() <= 6


@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_the_bits_of_frames_sum_to_those_of_the_stream_and_the_first_takes_most(codec):
    video = encode(stripes(), codec, qp=20)
    assert len(video.frame_bits) == 6
    assert sum(video.frame_bits) == video.total_bits
    assert max(video.frame_bits) == video.frame_bits[0]


def test_bits_per_pixel_of_colour_frames_count_pixels_not_samples():
    video = encode(stripes(), qp=20)
    assert video.bpp == video.total_bits / (6 * 48 * 72)


def test_frames_shrink_as_matlab_shrinks_them_and_stay_uncoded_without_a_qp():
    result = degrade(stripes(), scale=5)
    assert result.frames.shape == (6, 10, 15, 3)
    assert np.array_equal(result.frames[2], imresize(stripes()[2], 1 / 5))
    assert np.isnan(result.bits).all()


def test_coarser_coding_takes_fewer_bits_and_loses_more():
    fine, coarse = (degrade(waves(), scale=2, qp=qp) for qp in (20, 44))
    small = degrade(waves(), scale=2).frames
    assert fine.bits.sum() > coarse.bits.sum() > 0
    assert psnr(fine.frames, small) > psnr(coarse.frames, small) + 3


def test_gray_frames_are_degraded_as_gray_ones():
    gray = stripes()[..., 1]
    assert np.array_equal(degrade(gray, scale=2, qp=30).frames, encode(imresize(gray, 0.5, axes=(1, 2)), qp=30).decoded)


@pytest.mark.parametrize(
    ("options", "field"), [({"scale": 0.5}, "scale"), ({"scale": float("nan")}, "scale"), ({"qp": 52}, "qp")]
)
def test_options_out_of_range_are_refused(options, field):
    with refused("out-of-range", field=field):
        degrade(stripes(), **options)


def test_a_factor_that_leaves_no_pixel_is_refused():
    assert degrade(stripes(), scale=48, qp=None).frames.shape == (6, 1, 2, 3)
    with refused("out-of-range", field="scale", hint="1 to 48"):
        degrade(stripes(), scale=1e9)


def test_a_degraded_video_keeps_the_uneven_times_of_its_frames(tmp_path):
    times = [0, 40, 130, 170, 400, 441]
    source = write_video(tmp_path / "source.mkv", stripes(), times)
    result = degrade_video(DegradeSettings(video=source, out=tmp_path / "out.mp4", scale=2, qp=20))
    frames = read_video(tmp_path / "out.mp4")
    assert [round(1000 * time) for time, _ in frames] == times
    assert frames[0][1].shape == (24, 36, 3)
    assert np.abs(frames[0][1][4, 10].astype(int) - RED).max() <= 25
    assert (result.frames, result.width, result.height, result.seconds) == (6, 36, 24, 0.441)
    assert result.bpp == result.bits / (6 * 36 * 24)


def test_fewer_frames_per_second_keep_the_times_of_those_that_stay(tmp_path):
    source = write_video(tmp_path / "source.mkv", stripes(25), range(0, 1000, 40))
    result = degrade_video(DegradeSettings(video=source, out=tmp_path / "out.mkv", fps=5))
    assert [round(1000 * time) for time, _ in read_video(tmp_path / "out.mkv")] == [0, 200, 400, 600, 800]
    assert result.frames == 5


def test_sizes_are_padded_to_even_numbers_and_to_what_the_codec_takes(tmp_path):
    source = write_video(tmp_path / "source.mkv", stripes(3), range(0, 120, 40))
    sizes = {}
    for codec in ("x264", "x265"):
        result = degrade_video(DegradeSettings(video=source, out=tmp_path / "out.mp4", scale=7, codec=codec))
        sizes[codec] = (result.width, result.height)
    assert sizes == {"x264": (12, 8), "x265": (24, 24)}


def test_a_rotation_that_the_file_asks_for_is_applied(tmp_path):
    source = write_clip(tmp_path / "source.mp4", gray_levels(2), rotation=-90)
    assert degrade_video(DegradeSettings(video=source, out=tmp_path / "out.mp4")).width == 48
    _, image = read_video(tmp_path / "out.mp4")[0]
    assert image[4, 40].min() > 180 > 90 > image[4, 4].max()  # bright on the left before, above on the right now


def test_a_truncated_video_is_refused_and_leaves_no_file(tmp_path):
    path = write_truncated(tmp_path / "v.mkv")
    with refused("damaged-file", file="v.mkv"):
        degrade_video(DegradeSettings(video=path, out=tmp_path / "out.mp4"))
    assert [file.name for file in tmp_path.iterdir()] == ["v.mkv"]


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("none.mkv", {}, "file-missing"),
        ("text.mp4", {}, "damaged-file"),
        ("source.mkv", {"out": "out.avi"}, "unsupported"),
        ("source.mkv", {"out": "source.mkv"}, "conflict"),
        ("source.mkv", {"codec": "vp9"}, "out-of-range"),
        ("source.mkv", {"fps": 0}, "out-of-range"),
    ],
)
def test_what_cannot_be_degraded_is_refused_and_leaves_no_file(tmp_path, name, options, code):
    write_video(tmp_path / "source.mkv", stripes(2), [0, 40])
    (tmp_path / "text.mp4").write_text("no video")
    before = (tmp_path / "source.mkv").read_bytes()
    with refused(code):
        out = tmp_path / options.pop("out", "out.mp4")
        degrade_video(DegradeSettings(video=tmp_path / name, out=out, **options))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.mkv", "text.mp4"]
    assert (tmp_path / "source.mkv").read_bytes() == before


def test_an_avi_with_b_frames_is_degraded(tmp_path):
    path = write_clip(tmp_path / "a.avi", gray_levels(30), options={"bf": "3"})
    assert degrade_video(DegradeSettings(video=path, out=tmp_path / "b.mp4", scale=2)).frames == 30


def test_the_command_writes_a_video_and_says_how_many_bits_it_takes(tmp_path, capsys):
    source = write_video(tmp_path / "source.mkv", stripes(10), range(0, 400, 40))
    out = tmp_path / "small.mp4"
    assert run("data", "degrade", source, "--out", out, "--scale", 2, "--qp", 36, "--fps", 12.5, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["frames"], result["width"], result["height"]) == (5, 36, 24)
    assert result["bpp"] == result["bits"] / (5 * 36 * 24)
    assert len(read_video(out)) == 5


def frames_at(times, fps):
    return [index for index, keep in enumerate(map(thin(fps), times)) if keep]


@pytest.mark.parametrize(("fps", "count"), [(30, 120), (15, 60), (5, 20), (None, 120)])
def test_frames_are_left_out_by_their_times(fps, count):
    times = np.arange(120) * 1001 / 30000  # 29.97 frames per second
    frames = frames_at(times, fps)
    assert len(frames) in (count, count + 1)
    if fps in (15, 5):
        assert np.isin(np.diff(frames), (30 // fps, 30 // fps + 1, 30 // fps - 1)).all()


def test_gaps_in_the_times_are_not_filled():
    assert frames_at([0, 0.033, 0.067, 0.5, 0.533, 0.567], 15) == [0, 2, 3, 5]


def test_a_rate_of_zero_is_refused():
    with refused("out-of-range", field="fps", value=0):
        frames_at([0.0], 0)
