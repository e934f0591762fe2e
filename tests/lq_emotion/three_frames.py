"""A net that takes three frames a sample, as `lq-emotion data h5 --triplets` writes them."""

from pathlib import Path

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.formats.files import read_net, write_text
from lq_emotion import prototxt
from lq_emotion.evaluation.predictor import DEPLOY


def write_three_frame_net(folder: Path) -> tuple[Path, Path]:
    """Write the authors' deploy form for three frames a sample, and weights as its fillers draw them."""
    net = read_net(prototxt.path(DEPLOY))
    net.input_dim[1] = 3
    write_text(net, folder / "three.prototxt")
    save_weights(load_net(net, seed=3), folder / "three.caffemodel")
    return folder / "three.prototxt", folder / "three.caffemodel"
