"""Nets of pycaffe from text."""

import pytest

import caffe_compat.pycaffe as caffe


@pytest.fixture
def make(tmp_path):
    def net(text, phase=caffe.TRAIN):
        (tmp_path / "net.prototxt").write_text(text)
        return caffe.Net(str(tmp_path / "net.prototxt"), phase)

    return net
