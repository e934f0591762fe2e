"""Encoding: the same bits every time, luma untouched by ranges, sizes below what codecs take, unusable input."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from caffe_compat.errors import DataError
from lq_emotion.video import CODECS, encode
from lq_emotion.video.encode import padded

pytest.importorskip("av")
BOTH = ("x264", "x265")
SIDES = (6, 8, 12, 16, 24, 32)


def pictures(side, count=25):
    """A face-like blob that moves, and some noise that does not compress."""
    y, x = np.mgrid[:side, :side] / side
    noise = np.random.default_rng(5).integers(-6, 7, (count, side, side))
    moving = [120 + 70 * np.sin(5 * (x + 0.02 * t)) + 40 * np.cos(6 * (y + 0.01 * t)) for t in range(count)]
    return np.clip(np.stack(moving) + noise, 16, 235).astype(np.uint8)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("codec", CODECS)
def test_the_same_pictures_give_the_same_bits(codec, side):
    streams = {encode(pictures(side), codec, qp=24).stream for _ in range(4)}
    assert len(streams) == 1


@pytest.mark.parametrize("codec", BOTH)
def test_a_new_process_gives_the_same_bits(codec):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_encode import encode, pictures;"
        f"print(*(encode(pictures(side), {codec!r}, qp=28).sha256 for side in (6, 16, 32)))"
    )
    argv = [sys.executable, "-c", code, str(__file__).rsplit("/", 1)[0]]
    found = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert found == [encode(pictures(side), codec, qp=28).sha256 for side in (6, 16, 32)]


@pytest.mark.parametrize("side", [*SIDES, 11])
@pytest.mark.parametrize("codec", BOTH)
def test_pictures_come_back_in_order_in_their_size_and_close_to_what_they_were(codec, side):
    given = pictures(side)
    given[:, 0, 0] = np.arange(len(given)) * 9 % 200  # every picture has a mark of its own
    found = encode(given, codec, qp=4).decoded
    assert found.shape == given.shape
    assert found.dtype == np.uint8
    assert all(psnr(a, b) > 45 for a, b in zip(found, given, strict=True))


@pytest.mark.parametrize("codec", BOTH)
def test_x265_codes_one_block_as_well_as_several(codec):
    """A picture of one coding tree unit lost several decibels: 30 where four of them have 37."""
    assert psnr(encode(pictures(16), codec, qp=24).decoded, pictures(16)) > 36


@pytest.mark.parametrize("codec", CODECS)
def test_black_and_white_are_neither_squeezed_nor_clipped(codec):
    given = np.zeros((3, 32, 32), np.uint8)
    given[:, :, 16:] = 255
    found = encode(given, codec, qp=CODECS[codec].qps[0]).decoded.astype(int)
    assert abs(found[:, :, 4].max()) <= 3
    assert abs(found[:, :, 27].min()) >= 252


def test_qp_0_of_x264_is_lossless_through_plane_0():
    given = np.random.default_rng(1).integers(0, 256, (5, 24, 32), np.uint8)
    assert np.array_equal(encode(given, "x264", qp=0).decoded, given)


@pytest.mark.parametrize("codec", BOTH)
@pytest.mark.parametrize("side", [24, 32])
def test_bits_and_quality_fall_with_qp(codec, side):
    found = [encode(pictures(side), codec, qp=qp) for qp in range(20, 45, 4)]
    assert all(a.vcl_bits > b.vcl_bits for a, b in pairwise(found))
    assert all(psnr(a.decoded, pictures(side)) > psnr(b.decoded, pictures(side)) for a, b in pairwise(found))


def test_every_picture_has_the_quantiser_asked_for():
    """Without ipratio=1 the first picture, an I, would be three steps finer."""
    given = np.repeat(pictures(32, 1), 2, axis=0)
    first, alone = encode(given, "x264", qp=30), encode(given[:1], "x264", qp=30)
    assert np.array_equal(first.decoded[0], alone.decoded[0])
    assert psnr(first.decoded[1], given[1]) == pytest.approx(psnr(first.decoded[0], given[0]), abs=0.5)


def test_the_banner_of_x264_is_no_picture():
    found = encode(pictures(6), "x264", qp=24)
    banner = found.by_type[6]
    assert banner > 8 * 500
    assert found.total_bits - found.vcl_bits == banner + found.by_type[7] + found.by_type[8]
    assert found.vcl_bpp == found.vcl_bits / (25 * 36)
    assert found.bpp > found.vcl_bpp + 5  # on 25 pictures of 36 pixels


def test_x265_writes_no_banner():
    assert set(encode(pictures(32), "x265", qp=24).by_type) <= {*range(32), 32, 33, 34}


def test_bits_are_per_pixel_given_not_per_pixel_padded():
    found = encode(pictures(8), "x265", qp=24)
    assert found.bpp == found.total_bits / (25 * 8 * 8)


@pytest.mark.parametrize(
    ("side", "least", "coded"), [(6, 24, 24), (24, 24, 24), (11, 1, 12), (33, 24, 34), (32, 1, 32)]
)
def test_the_coded_side_is_even_and_large_enough(side, least, coded):
    assert padded(side, least) == coded


def test_codecs_without_nal_units_have_a_total_only():
    found = encode(pictures(24), "vp9", qp=24)
    assert found.vcl_bits is None
    assert found.vcl_bpp is None
    assert found.total_bits > 0


@pytest.mark.parametrize(
    ("frames", "options", "problem"),
    [
        (np.zeros((2, 8, 8)), {}, "2 x 8 x 8 of float64 are no pictures"),
        (np.zeros((0, 8, 8), np.uint8), {}, "0 x 8 x 8 of uint8 are no pictures"),
        (np.zeros((2, 8, 8), np.uint8), {"codec": "x263"}, "codec = 'x263': is unknown .did you mean 'x26"),
        (np.zeros((2, 8, 8), np.uint8), {"qp": 52}, "qp = 52: is out of range .x264 takes 0 to 51"),
        (np.zeros((2, 8, 8), np.uint8), {"codec": "vp9", "preset": "slow"}, "is not known to this codec"),
        (np.zeros((2, 8, 8), np.uint8), {"preset": "sluggish"}, "libx264 failed"),
    ],
)
def test_unusable_input_is_one_error(frames, options, problem):
    with pytest.raises(DataError, match=problem):
        encode(frames, **{"codec": "x264", "qp": 24, **options})


def test_without_pyav_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=r"PyAV is missing.*\[video\]"):
        encode(pictures(8), qp=24)


def test_av1_leaves_the_scheduling_of_the_process_as_it_was():
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
