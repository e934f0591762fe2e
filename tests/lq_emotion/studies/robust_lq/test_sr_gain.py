"""PSNR of super-resolved faces beside that of bicubic ones."""

import numpy as np
import pytest

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.errors import DataError
from lq_emotion import prototxt
from lq_emotion.studies.robust_lq.sr_demo.recipe import DEPLOY
from lq_emotion.studies.robust_lq.sr_demo.upscaling import sr_gain
from matlab_ports.matfile import savemat


@pytest.fixture
def crops(tmp_path):
    """Faces of 0.2, which LR-4 shows as 0.4: 51 and 102 in bytes."""
    for kind, value in (("HQ", 0.2), ("LR4", 0.4)):
        (tmp_path / kind).mkdir()
        for name in ("dev_1", "dev_2"):
            savemat(tmp_path / kind / f"{name}.mat", {"video": np.full((96, 96, 3), value)}, "-v6")
    return tmp_path


def write_net(path, factor):
    """Write an SR-FCN that multiplies every pixel by a factor."""
    net = load_net(prototxt.path(DEPLOY), seed=1)
    state = {name: value * 0 for name, value in net.state_dict().items()}
    for layer in range(1, 5):
        state[f"conv{layer}.weight"][0, 0, 2, 2] = factor if layer == 4 else 1
    net.load_state_dict(state)
    save_weights(net, path)
    return path


def test_a_net_that_changes_nothing_gains_nothing(crops, tmp_path):
    gain = sr_gain(write_net(tmp_path / "sr.caffemodel", 1), crops, ["dev_1", "dev_2"], 4, each=2)
    assert (gain.factor, gain.faces, gain.gain) == (4, 4, 0)
    assert gain.bicubic == pytest.approx(13.9794, abs=1e-4)  # 20 log10(255 / 51)


def test_a_net_that_comes_closer_gains(crops, tmp_path):
    gain = sr_gain(write_net(tmp_path / "sr.caffemodel", 0.75), crops, ["dev_1"], 4)
    assert gain.sr_fcn == pytest.approx(19.8313, abs=1e-4)  # 77 in bytes: 20 log10(255 / 26)
    assert gain.gain == pytest.approx(5.8519, abs=1e-4)


def test_crops_that_differ_in_number_are_refused(crops, tmp_path):
    savemat(crops / "LR4" / "dev_1.mat", {"video": np.full((96, 96, 2), 0.4)}, "-v6")
    with pytest.raises(DataError) as caught:
        sr_gain(write_net(tmp_path / "sr.caffemodel", 1), crops, ["dev_1"], 4)
    assert caught.value.code == "wrong-count"
