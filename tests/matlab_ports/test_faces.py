"""The compiled and the plain loops return the same faces."""

import numpy as np
import pytest

from matlab_ports import rgb2ycbcr
from matlab_ports._recordings import faces
from matlab_ports.prepare_dataset import prepare_recording
from tests.videos import random_frames, write_video

MANY = faces._WORTH_COMPILING


def compiled_maker(side):
    pytest.importorskip("matlab_ports._support.compiled", reason="needs Numba (the extra `fast`)", exc_type=ImportError)
    return faces.choose_face_maker(side, expected=MANY)


@pytest.mark.parametrize("shape", [(101, 130), (130, 101), (140, 140), (20, 30), (150, 60), (96, 96), (1, 5)])
@pytest.mark.parametrize("gray", [False, True])
def test_compiled_and_plain_loops_return_the_same_bits(shape, gray):
    crop = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)[..., 0 if gray else slice(None)]
    fast, plain = compiled_maker(96)(crop), faces.choose_face_maker(96, expected=MANY - 1)(crop)
    assert fast.dtype == plain.dtype == np.float32
    assert np.ptp(plain) > 0.05
    np.testing.assert_array_equal(fast.view(np.uint32), plain.view(np.uint32))


def test_the_compiled_luma_of_every_colour_equals_rgb2ycbcr():
    compiled = pytest.importorskip("matlab_ports._support.compiled", reason="needs Numba", exc_type=ImportError)
    red, green = (values.astype(np.uint8) for values in np.mgrid[:256, :256])
    for blue in range(256):
        rgb = np.stack([red, green, np.full_like(red, blue)], axis=-1)
        luma = np.empty((256, 256))
        compiled.luma(rgb, luma)
        expected = rgb2ycbcr(rgb, planes=(0,))[..., 0].astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(luma, expected)


def test_few_faces_do_not_load_the_compiled_loops(monkeypatch):
    monkeypatch.setattr(faces, "load_compiled_loops", lambda: pytest.fail("loaded"))
    assert faces.choose_face_maker(96, expected=MANY - 1)(np.zeros((5, 5), np.uint8)).shape == (96, 96)


def test_many_faces_are_made_without_numba(monkeypatch):
    monkeypatch.setattr(faces, "load_compiled_loops", lambda: None)
    crop = np.full((7, 9, 3), 255, np.uint8)
    np.testing.assert_allclose(faces.choose_face_maker(4, expected=MANY)(crop), 235 / 255, rtol=1e-6)


def test_a_recording_has_the_same_bits_with_the_compiled_loops(tmp_path, monkeypatch):
    write_video(tmp_path / "v.mkv", random_frames(3, 140, 160))
    times = np.arange(3) * 0.04
    boxes = [[-5, 2, 120.5, 130], [20, 10, 101, 300], [30, 15.5, 110, 105]]
    for name, threshold in (("plain", MANY), ("fast", 0)):
        monkeypatch.setattr(faces, "_WORTH_COMPILING", threshold)
        prepare_recording(
            tmp_path / "v.mkv", times, bbox=boxes, bbox_time=times, gsd=times, gsd_time=times,
            save={1: tmp_path / f"{name}.mat"}, version="-v6",
        )  # fmt: skip
    assert (tmp_path / "plain.mat").read_bytes()[128:] == (tmp_path / "fast.mat").read_bytes()[128:]
