"""The infogain loss: its matrix as a bottom and in a file."""

import numpy as np
import torch

from caffe_compat.build.net import load_net
from caffe_compat.formats.files import BlobStore, write_binary
from caffe_compat.schema import caffe_pb2 as pb
from tests.layers.agreement import single
from tests.nets import build_net
from tests.refusals import refused

MATRIX = np.array([[1, 0.5, 0], [0, 2, -0.25], [0.125, 0, 1]], "f4")
INFOGAIN = single("InfogainLoss", [(4, 3), (4,), (3, 3)])
SAMPLES, LABEL = torch.arange(12.0).view(4, 3).cos(), torch.tensor([0.0, 2, 1, 1])


def written(tmp_path, values):
    message, store = pb.BlobProto(), BlobStore()
    store.attach(message, np.asarray(values, "f4"))
    write_binary(message, tmp_path / "matrix.binaryproto", store)
    text = single("InfogainLoss", [(4, 3), (4,)], 'infogain_loss_param { source: "matrix.binaryproto" }')
    (tmp_path / "net.prototxt").write_text(text)
    return tmp_path / "net.prototxt"


def test_the_matrix_of_a_file_in_the_prototxts_folder(tmp_path):
    actual = load_net(written(tmp_path, MATRIX.reshape(1, 1, 3, 3)), losses=True)(SAMPLES, LABEL)
    assert torch.equal(actual, build_net(INFOGAIN)(SAMPLES, LABEL, torch.from_numpy(MATRIX)))


def test_a_file_with_another_number_of_values_is_refused(tmp_path):
    with refused("shape-mismatch", field="infogain_loss_param.source", value="matrix.binaryproto"):
        load_net(written(tmp_path, np.eye(2)), losses=True)
