"""Encoding: reproducible bits, luma without range conversion, sizes below what codecs take, invalid input."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from lq_emotion.video.codecs import CODECS
from lq_emotion.video.encode import coded_side, encode
from tests.lq_emotion.video.clips import psnr
from tests.refusals import refused

pytest.importorskip("av")
H26X = ("x264", "x265")
SIDES = (6, 8, 12, 16, 24, 32)


def moving_blob(side, count=25):
    """A face-like blob that moves, plus some incompressible noise."""
    y, x = np.mgrid[:side, :side] / side
    noise = np.random.default_rng(5).integers(-6, 7, (count, side, side))
    frames = [120 + 70 * np.sin(5 * (x + 0.02 * t)) + 40 * np.cos(6 * (y + 0.01 * t)) for t in range(count)]
    return np.clip(np.stack(frames) + noise, 16, 235).astype(np.uint8)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("codec", CODECS)
def test_the_same_frames_give_the_same_bits(codec, side):
    assert len({encode(moving_blob(side), codec, qp=24).packets for _ in range(4)}) == 1


@pytest.mark.parametrize("codec", H26X)
def test_a_new_process_gives_the_same_bits(codec):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_encode import encode, moving_blob;"
        f"print(*(encode(moving_blob(side), {codec!r}, qp=28).sha256 for side in (6, 16, 32)))"
    )
    argv = [sys.executable, "-c", code, str(__file__).rsplit("/", 1)[0]]
    hashes = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert hashes == [encode(moving_blob(side), codec, qp=28).sha256 for side in (6, 16, 32)]


@pytest.mark.parametrize("side", [*SIDES, 11])
@pytest.mark.parametrize("codec", H26X)
def test_decoded_frames_have_the_order_the_size_and_nearly_the_values_of_the_input(codec, side):
    frames = moving_blob(side)
    frames[:, 0, 0] = np.arange(len(frames)) * 9 % 200  # a mark that differs from frame to frame
    decoded = encode(frames, codec, qp=4).decoded
    assert decoded.shape == frames.shape
    assert decoded.dtype == np.uint8
    assert all(psnr(a, b) > 45 for a, b in zip(decoded, frames, strict=True))


@pytest.mark.parametrize("codec", H26X)
def test_a_frame_of_one_block_is_coded_as_well_as_one_of_several(codec):
    """A frame of one coding tree unit lost several decibels: 30 where frames of four have 37."""
    assert psnr(encode(moving_blob(16), codec, qp=24).decoded, moving_blob(16)) > 36


@pytest.mark.parametrize("codec", CODECS)
def test_black_and_white_are_neither_rescaled_nor_clipped(codec):
    frames = np.zeros((3, 32, 32), np.uint8)
    frames[:, :, 16:] = 255
    decoded = encode(frames, codec, qp=CODECS[codec].qps[0]).decoded.astype(int)
    assert abs(decoded[:, :, 4].max()) <= 3
    assert abs(decoded[:, :, 27].min()) >= 252


def test_qp_0_of_x264_is_lossless_through_plane_0():
    frames = np.random.default_rng(1).integers(0, 256, (5, 24, 32), np.uint8)
    assert np.array_equal(encode(frames, "x264", qp=0).decoded, frames)


@pytest.mark.parametrize("codec", H26X)
@pytest.mark.parametrize("side", [24, 32])
def test_bits_and_quality_fall_with_qp(codec, side):
    videos = [encode(moving_blob(side), codec, qp=qp) for qp in range(20, 45, 4)]
    assert all(a.vcl_bits > b.vcl_bits for a, b in pairwise(videos))
    assert all(psnr(a.decoded, moving_blob(side)) > psnr(b.decoded, moving_blob(side)) for a, b in pairwise(videos))


def test_i_and_p_frames_have_the_same_quantiser():
    """Without ipratio=1 the first frame, an I frame, would be three steps finer."""
    frames = np.repeat(moving_blob(32, 1), 2, axis=0)
    decoded = encode(frames, "x264", qp=30).decoded
    assert np.array_equal(decoded[:1], encode(frames[:1], "x264", qp=30).decoded)
    assert psnr(decoded[1], frames[1]) == pytest.approx(psnr(decoded[0], frames[0]), abs=0.5)


def test_the_banner_of_x264_does_not_count_as_a_frame():
    video = encode(moving_blob(6), "x264", qp=24)
    banner = video.by_type[6]
    assert banner > 8 * 500
    assert video.total_bits - video.vcl_bits == banner + video.by_type[7] + video.by_type[8]
    assert video.bpp > video.vcl_bits / (25 * 36) + 5  # on 25 frames of 36 pixels


def test_x265_writes_no_banner():
    assert set(encode(moving_blob(32), "x265", qp=24).by_type) <= {*range(32), 32, 33, 34}


def test_bits_are_per_input_pixel_not_per_padded_pixel():
    video = encode(moving_blob(8), "x265", qp=24)
    assert video.bpp == video.total_bits / (25 * 8 * 8)


@pytest.mark.parametrize(
    ("side", "min_side", "expected"), [(6, 24, 24), (24, 24, 24), (11, 1, 12), (33, 24, 34), (32, 1, 32)]
)
def test_the_coded_side_is_even_and_not_below_the_minimum(side, min_side, expected):
    assert coded_side(side, min_side) == expected


def test_codecs_without_nal_units_have_only_a_total():
    video = encode(moving_blob(24), "vp9", qp=24)
    assert video.vcl_bits is None
    assert video.total_bits > 0


@pytest.mark.parametrize(
    ("frames", "options", "code", "field"),
    [
        (np.zeros((2, 8, 8)), {}, "wrong-type", "frames"),
        (np.zeros((0, 8, 8), np.uint8), {}, "shape-mismatch", "frames"),
        (np.zeros((2, 8, 8), np.uint8), {"codec": "x263"}, "name-unknown", "codec"),
        (np.zeros((2, 8, 8), np.uint8), {"qp": 52}, "out-of-range", "qp"),
        (np.zeros((2, 8, 8), np.uint8), {"codec": "vp9", "preset": "slow"}, "unsupported", "preset"),
        (np.zeros((2, 8, 8), np.uint8), {"preset": "sluggish"}, "invalid", "codec"),
    ],
)
def test_invalid_input_is_refused(frames, options, code, field):
    with refused(code, field=field):
        encode(frames, **{"codec": "x264", "qp": 24, **options})


def test_without_pyav_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with refused("dependency-missing", hint="[video]"):
        encode(moving_blob(8), qp=24)


def test_av1_does_not_change_the_scheduling_of_the_process():
    """SVT-AV1, opened by root, gives the threads of the process real-time priority."""
    code = """
import os, threading
import numpy as np
from lq_emotion.video.encode import encode
encode(np.zeros((3, 64, 64), np.uint8), "av1", qp=30)
print({os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")} == {os.SCHED_OTHER})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
