"""Sequences for the LSTM: rows in the order of training, and a head that learns the order of two patterns."""

import h5py
import numpy as np
import pytest
import torch

from caffe_compat import load_net
from caffe_compat.build.weights import save_weights
from caffe_compat.formats.files import write_text
from lq_emotion.nets.head import adam, base_of
from lq_emotion.nets.lstm import SequenceHead
from lq_emotion.training import sequences as module
from lq_emotion.training.run import Run
from lq_emotion.training.sequences import predict_sequences, write_sequences
from tests.refusals import refused

HEAD = SequenceHead(steps=4, features=3, memory=8, hidden=8, classes=2)


def small():
    """Three sequences of two frames; the value says sequence and frame."""
    return [(np.array([[10 * n + 1], [10 * n + 2]], np.float32), n) for n in range(3)]


def rows(path):
    with h5py.File(path) as file:
        assert {name: file[name].dtype for name in file} == dict.fromkeys(("rows", "row_cont", "row_label"), np.float32)
        return [file[name][:].tolist() for name in ("rows", "row_cont", "row_label")]


def test_a_batch_has_the_first_frames_and_then_the_second_and_the_last_is_filled_up(tmp_path):
    listing = write_sequences(small(), tmp_path, "train", batch=2, seed=0)
    assert listing == tmp_path / "train.txt"
    assert listing.read_text() == "./train_0000.h5\n"
    assert np.random.default_rng(0).permutation(3).tolist() == [2, 0, 1]
    assert rows(tmp_path / "train_0000.h5") == [
        [[21], [1], [22], [2], [11], [21], [12], [22]],
        [0, 0, 1, 1, 0, 0, 1, 1],
        [2, 0, 2, 0, 1, 2, 1, 2],
    ]


def test_each_epoch_has_an_order_of_its_own_and_files_stay_small(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FILE_BYTES", 2 * 4 * 6 * 3)  # two batches of six rows of three values
    listing = write_sequences(small(), tmp_path, "train", batch=3, epochs=3, seed=0)
    assert listing.read_text() == "./train_0000.h5\n./train_0001.h5\n"
    rng = np.random.default_rng(0)
    expected = [label for _ in range(3) for label in np.tile(rng.permutation(3), 2).tolist()]
    labels = [label for name in ("train_0000.h5", "train_0001.h5") for label in rows(tmp_path / name)[2]]
    assert labels == expected
    assert len({tuple(expected[start : start + 3]) for start in (0, 6, 12)}) > 1


def test_fewer_sequences_than_a_batch_are_repeated(tmp_path):
    write_sequences(small()[:1], tmp_path, "one", batch=3)
    assert rows(tmp_path / "one_0000.h5")[0] == [[1]] * 3 + [[2]] * 3


def test_what_is_not_sequences_of_one_shape_is_refused(tmp_path):
    with refused("out-of-range", field="sequences", value=0):
        write_sequences([], tmp_path, "train", batch=2)
    with refused("shape-mismatch", field="sequences[0]"):
        write_sequences([(np.zeros(3, np.float32), 0)], tmp_path, "train", batch=2)
    with refused("shape-mismatch", field="sequences[1]"):
        write_sequences([*small()[:1], (np.zeros((3, 1), np.float32), 0)], tmp_path, "train", batch=2)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The order of two patterns is the class: the mean of the frames is the same in both."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    patterns = np.where(labels[:, None] == 0, [[1, 1, -1, -1]], [[-1, -1, 1, 1]])
    features = patterns[:, :, None] * np.array([1, -1, 0.5]) + rng.normal(0, 0.3, (64, 4, 3))
    features = (features - features.mean(1, keepdims=True)).astype(np.float32)
    listing = write_sequences(list(zip(features, labels, strict=True)), folder, "train", batch=16, epochs=4)
    definition = HEAD.training([HEAD.data(str(listing), 16)], sequences=16)
    write_text(definition, folder / "net.prototxt")
    run = Run(folder, "lstm", "LSTM")
    run.prefix.parent.mkdir()
    solver = adam(
        net=str(folder / "net.prototxt"), snapshot_prefix=str(run.prefix), base_lr=0.02, max_iter=60, snapshot=60,
        display=20, random_seed=1,
    )  # fmt: skip
    run.train(solver, lambda _: None)
    return features, labels, definition, run.snapshot(60, ".caffemodel.h5")


def test_a_head_learns_what_the_mean_of_the_frames_does_not_tell(trained):
    features, labels, _, weights = trained
    assert np.abs(features.mean(1)).max() < 1e-6
    answers = predict_sequences(HEAD, weights, features[:21], batch=8)
    assert (answers.shape, answers.dtype) == ((21, 2), np.float32)
    assert answers.argmax(1).tolist() == labels[:21].tolist()
    assert answers.max(1).min() > 0.9


def test_answers_are_those_of_the_training_net(trained):
    all_features, _, definition, weights = trained
    definition.layer.add(name="answer", type="Softmax", bottom=["scores"], top=["answer"])
    net = load_net(
        definition, weights, phase="TRAIN", input_shapes={"rows": (64, 3), "row_cont": (64,), "row_label": (64,)}
    )
    cont = np.repeat([0, 1, 1, 1], 16).astype(np.float32)
    features = all_features[:16].swapaxes(0, 1).reshape(64, 3)
    inputs = {"rows": features, "row_cont": cont, "row_label": np.zeros(64, np.float32)}
    outputs = net.forward_dict({name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()})
    answers = predict_sequences(HEAD, weights, all_features[:16], batch=5)
    np.testing.assert_allclose(answers, outputs["answer"].detach(), atol=1e-6)


def test_features_of_another_shape_and_weights_of_another_net_are_refused(trained, tmp_path):
    weights = trained[2]
    with refused("shape-mismatch", field="features"):
        predict_sequences(HEAD, weights, np.zeros((2, 5, 3), np.float32))
    lacking = tmp_path / "lacking.caffemodel"
    save_weights(load_net(base_of(HEAD.deploy(), "code"), seed=1), lacking)
    with refused("mismatch", file=lacking):
        predict_sequences(HEAD, lacking, np.zeros((2, 4, 3), np.float32))
