"""`lq-emotion` called as a user calls it, the inputs that several commands need, and the files that they leave."""

import hashlib
import os
import signal
import sys

import numpy as np

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.formats.files import read_net, write_text
from lq_emotion import prototxt
from lq_emotion.cli import main
from lq_emotion.datasets.synthetic.package import SyntheticSettings, make_recordings
from lq_emotion.evaluation.predictor import DEPLOY
from matlab_ports.matfile import savemat

STUDY = ("study", "run", "robust-lq")
TABLE = (*STUDY, "--only", "table")
LINEAR = """
input: "data" input_dim: 1 input_dim: 1 input_dim: {side} input_dim: {side}
layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param {{ num_output: 1 }} }}
"""


def run(*argv):
    return main([str(word) for word in argv])


def failed(capsys, *argv, code=1):
    """Run a command that fails; return what it wrote to stderr."""
    assert run(*argv) == code
    stderr = capsys.readouterr().err
    assert "Traceback" not in stderr
    return stderr


def assert_nothing_is_left_to_do(capsys, *argv):
    """Run a study again that has ended: no stage begins, and a dry run lists none."""
    capsys.readouterr()
    assert run(*argv) == run(*argv, "--dry-run") == 0
    stdout = capsys.readouterr().out
    assert "begins" not in stdout
    assert "to do" not in stdout


def quiet(_line):
    pass


def hashes(folder):
    """Return the SHA-256 of each file below a folder, by its relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def interrupt_at(monkeypatch, text):
    """Send this process SIGINT as soon as it prints `text`."""

    class Stdout:
        def write(self, line):
            if text in line:
                os.kill(os.getpid(), signal.SIGINT)

        def flush(self):
            pass

    monkeypatch.setattr(sys, "stdout", Stdout())


def draw_recordings(folder, **settings):
    """Draw small recordings; return their folder."""
    make_recordings(SyntheticSettings(out=folder, **{"train": 1, "dev": 1, "size": (240, 240), **settings}), quiet)
    return folder


def drawn_files(recordings, out):
    """Return the options for drawn recordings with their true boxes, and for the folder of results."""
    return "--recordings", str(recordings), "--boxes", str(recordings / "synthetic_face_boxes"), "--out", str(out)


def save_crops(path, video, times=None, **labels):
    """Write crops (H, W, T) as `prepare` does, 25 a second or at these times; return their file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = 0.04 * np.arange(np.shape(video)[2]) if times is None else times
    savemat(path, {"video": video, **labels, "video_time": times}, "-v6")
    return path


def draw_weights(path, seed=3, definition=DEPLOY):
    """Write the weights that a shipped net's fillers draw."""
    save_weights(load_net(prototxt.path(definition), seed=seed), path)
    return path


def write_three_frame_net(folder):
    """Write the authors' deploy form for three frames a sample, as `data h5 --triplets` makes them, and drawn weights."""
    net = read_net(prototxt.path(DEPLOY))
    net.input_dim[1] = 3
    write_text(net, folder / "three.prototxt")
    save_weights(load_net(net, seed=3), folder / "three.caffemodel")
    return folder / "three.prototxt", folder / "three.caffemodel"


def linear_net(folder, side, *, weight, bias):
    """Write a net that computes `weight` times the sum of a frame's pixels, plus `bias`; return the options for it."""
    (folder / "deploy.prototxt").write_text(LINEAR.format(side=side))
    net = load_net(folder / "deploy.prototxt", seed=0)
    net.state_dict()["fc.weight"].fill_(weight)
    net.state_dict()["fc.bias"].fill_(bias)
    save_weights(net, folder / "linear.caffemodel")
    return "--weights", folder / "linear.caffemodel", "--net", folder / "deploy.prototxt", "--device=cpu"
