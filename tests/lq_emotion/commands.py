"""`lq-emotion` called as a user calls it, and the inputs that several commands need."""

import os
import signal
import sys

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from lq_emotion import prototxt
from lq_emotion.cli import main
from lq_emotion.datasets.synthetic.package import SyntheticSettings, make_recordings
from lq_emotion.evaluation.predictor import DEPLOY

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


def quiet(_line):
    pass


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
    make_recordings(
        folder, SyntheticSettings(**{"train": 1, "dev": 1, "width": 240, "height": 240, **settings}), say=quiet
    )
    return folder


def draw_weights(path, seed=3, definition=DEPLOY):
    """Write the weights that a shipped net's fillers draw."""
    save_weights(load_net(prototxt.path(definition), seed=seed), path)
    return path


def linear_net(folder, side, *, weight, bias):
    """Write a net that computes `weight` times the sum of a frame's pixels, plus `bias`; return the options for it."""
    (folder / "deploy.prototxt").write_text(LINEAR.format(side=side))
    net = load_net(folder / "deploy.prototxt", seed=0)
    net.state_dict()["fc.weight"].fill_(weight)
    net.state_dict()["fc.bias"].fill_(bias)
    save_weights(net, folder / "linear.caffemodel")
    return "--weights", folder / "linear.caffemodel", "--net", folder / "deploy.prototxt", "--device=cpu"
