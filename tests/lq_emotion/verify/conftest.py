"""Folders of weights as the authors' is, and what becomes of them."""

import json
import shutil

import numpy as np
import pytest

from tests.lq_emotion import commands
from tests.lq_emotion.commands import draw_weights

DEPLOY = "matlabscripts/recon/deploy"
RECORDED = {"class/HQ": "cnn_d", "class/vlqr_12": "vlqr_init", "recon/SR_12": "sr_fcn"}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """CNN+D and SR-FCN as their fillers draw them. Not to be changed."""
    folder = tmp_path_factory.mktemp("drawn")
    for name, net, seed in (("class/HQ", "model_1F_CNN+D", 3), ("recon/SR_12", "SRCNN_net", 4)):
        path = folder / f"{name}.caffemodel"
        path.parent.mkdir()
        draw_weights(path, seed, f"{DEPLOY}/{net}.prototxt")
    return folder


@pytest.fixture
def folder(drawn, tmp_path):
    """A folder with class/HQ.caffemodel in it, to be changed."""
    target = tmp_path / "weights"
    shutil.copytree(drawn / "class", target / "class")
    return target


@pytest.fixture
def weights(folder):
    return folder / "class/HQ.caffemodel"


@pytest.fixture
def verify(tmp_path, capsys):
    """Run the command; return exit code, result, and what it printed."""

    def run(folder, *argv, out="verify.json"):
        path = tmp_path / out
        code = commands.run("verify", "--weights", folder, "--out", path, "--device=cpu", *argv)
        output = "".join(capsys.readouterr())
        assert "Traceback" not in output
        return code, json.loads(path.read_text()) if path.is_file() else None, output

    return run


@pytest.fixture(scope="session")
def recorded(nets, tmp_path_factory):
    """The weights that genuine Caffe drew or trained, under the authors' names."""
    folder = tmp_path_factory.mktemp("recorded")
    for name, source in RECORDED.items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(nets / f"{source}.caffemodel", folder / f"{name}.caffemodel")
    return folder


@pytest.fixture
def crops():
    """Put recordings of noise into a folder, as prepare leaves them."""

    def put(root, folder, names=("dev_1",), frames=6):
        rng = np.random.default_rng(0)
        for name in names:
            labels = np.sin(9 * 0.04 * np.arange(frames))
            commands.save_crops(root / folder / f"{name}.mat", rng.random((96, 96, frames)), valence=labels)

    return put
