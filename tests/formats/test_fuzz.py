"""Damaged files are errors of ours, never anything else."""

import random

import numpy as np
import pytest

from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.files import (
    BlobStore,
    format_text,
    parse_text,
    read_binary,
    read_net,
    read_solverstate,
    read_weights_h5,
    same,
    write_binary,
)
from caffe_compat.schema.caffe_pb2 import NetParameter

TEXT = """name: "net" # a comment
input: 'data' input_dim: [1, 3, 8, 8]
layer { name: "conv" type: "Convolution" bottom: "data" top: "c" param { lr_mult: 1 } param { lr_mult: 2e0 }
  convolution_param { num_output: 4 kernel_size: 5 pad: 0x1 weight_filler < type: "xavier" >; engine: CAFFE }
  include: { phase: TRAIN stage: "a\\n\\x41" } own_param { x: -1.5f y: [A, "b"] } }
layer { type: "ReLU" relu_param { negative_slope: -inf } propagate_down: true }
"""
OLD = """input: "data" input_dim: [1, 3, 8, 8]
layers { layer { name: "p" type: "padding" pad: 2 } bottom: "data" top: "p" }
layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 5 blobs_lr: 1 } bottom: "p" top: "c" }
layers { layer { name: "q" type: "pool" pool: AVE } bottom: "c" top: "q" }
"""
PIECES = ["{", "}", "<", ">", "[", "]", ":", ";", ",", '"', "'", "\\", "#", "-", "\n", "9" * 30, "0x", "1e999", "nan", "layer", "\0",
          "type:", "é", "\ud800", ".", "/", "layers { ", "input_dim: 3 ", "layer { blobs { data: 1 } } ", "f", "TRAIN"]  # fmt: skip


def told(error):
    assert str(error)
    assert "\n" not in str(error).replace("\n  ", " ")


def damaged_text(text, rng):
    for _ in range(rng.randint(1, 4)):
        place, length = rng.randrange(len(text) + 1), rng.randint(0, 6)
        text = text[:place] + rng.choice([*PIECES, text[place : place + 30]]) + text[place + length :]
    return text[: rng.randrange(len(text))] if rng.random() < 0.1 and text else text


def damaged_bytes(content, rng):
    content = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(content))
        kind = rng.randrange(4)
        if kind == 0:
            content[place] = rng.randrange(256)
        elif kind == 1:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del content[place : place + rng.randint(1, 8)]
        else:
            content[place:place] = rng.randbytes(rng.randint(1, 8))
    return bytes(content[: rng.randrange(1, len(content))] if rng.random() < 0.2 else content)


@pytest.mark.parametrize("text", [TEXT, OLD])
def test_three_hundred_damaged_prototxts_are_read_or_refused(text, tmp_path):
    rng = random.Random(7)
    read = 0
    for _ in range(300):
        changed = damaged_text(text, rng)
        (tmp_path / "f").write_bytes(changed.encode("utf-8", "surrogatepass"))
        try:
            net = read_net(tmp_path / "f")
            assert same(parse_text(format_text(net), NetParameter), net)
            read += 1
            upgrade_net(net)
        except CaffeCompatError as error:
            told(error)
    assert 10 < read < 290


def weights(tmp_path):
    store, net = BlobStore(), NetParameter(name="net")
    for i in range(3):
        layer = net.layer.add(name=f"l{i}", type="Convolution", bottom=["x"], loss_weight=[1.5])
        layer.convolution_param.kernel_size.append(3)
        store.attach(layer.blobs.add(), np.arange(6.0 if i else 4.0), np.zeros(6 if i else 4) if i == 2 else None)
    net.layers.add(name="v1", type=4).blobs.add(num=1, channels=1, height=1, width=2, data=[1, 2])
    write_binary(net, tmp_path / "good", store)
    return (tmp_path / "good").read_bytes()


def test_six_hundred_damaged_caffemodels_are_read_or_refused(tmp_path):
    good, rng, read = weights(tmp_path), random.Random(11), 0
    for _ in range(600):
        changed = damaged_bytes(good, rng)
        (tmp_path / "f").write_bytes(changed)
        try:
            net, store = read_binary(tmp_path / "f", NetParameter)
            read += 1
            format_text(net)
            write_binary(net, tmp_path / "again", store)
            for layer in net.layer:
                for blob in layer.blobs:
                    store.data(blob)
                    store.diff(blob)
        except CaffeCompatError as error:
            told(error)
    assert 10 < read < 590


def test_noise_is_refused_or_read_as_a_nearly_empty_message(tmp_path):
    rng, refused = random.Random(3), 0
    for size in range(1, 400):
        (tmp_path / "f").write_bytes(rng.randbytes(size))
        for read in (read_net, read_solverstate, lambda p: read_binary(p, NetParameter)):
            try:
                read(tmp_path / "f")
            except CaffeCompatError as error:
                told(error)
                refused += 1
    assert refused > 1000


@pytest.mark.parametrize(
    ("name", "read"),
    [("caffemodel.h5", read_weights_h5), ("solverstate.h5", read_solverstate), ("solverstate", read_solverstate)],
)
def test_damaged_recordings_are_read_or_refused(name, read, golden, tmp_path):
    source = "adam_hdf5" if name.endswith("h5") else "sgd_fixed"
    good, rng, refused = (golden / f"files/{source}_snap_iter_10.{name}").read_bytes(), random.Random(5), 0
    for _ in range(150):
        (tmp_path / "f").write_bytes(damaged_bytes(good, rng))
        try:
            read(tmp_path / "f")
        except CaffeCompatError as error:
            refused += 1
            told(error)
    assert refused
