"""Heads on nets and on sequences: the definitions genuine Caffe trained, and the courses of its training."""

import math
import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from caffe_compat import load_net
from caffe_compat.build.weights import caffe_blobs
from caffe_compat.definition.prepare import prepare
from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.formats.files import read_net, read_solver, same, write_text
from caffe_compat.graph.graph import build_graph
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from lq_emotion import prototxt
from lq_emotion.nets.blocks import hdf5_data
from lq_emotion.nets.head import adam, features_input, headed_training_net, sgd, with_head
from lq_emotion.nets.lstm import SequenceHead
from lq_emotion.nets.small_resnet import small_resnet
from tests.refusals import refused

STUDIES = ("all_layers", "frozen_base", "lstm_adam")
COURSES = (pytest.param("all_layers", marks=pytest.mark.slow), "frozen_base", "lstm_adam")
SMALL_SEQUENCES = SequenceHead(steps=6, features=24, memory=12, hidden=10)
DATA = [hdf5_data("list.txt", 8)]
# Relative to the largest value; see tests/solver/test_recorded.py. Measured: losses 2.5e-7, weights 4.1e-6 (LSTM; else 5e-7).
LIMIT = 1e-4


def small(**options):
    return with_head(small_resnet(), blob="pool5", hidden=16, classes=8, **options)


def definition(study):
    if study == "lstm_adam":
        message = SMALL_SEQUENCES.training([SMALL_SEQUENCES.data("list.txt", 5)], sequences=5)
    else:
        message = headed_training_net(small(), DATA, frozen=study == "frozen_base")
    message.name = "study"
    return upgrade_net(message)


def solver(study):
    fields = {
        "net": "train.prototxt", "snapshot_prefix": "snap", "base_lr": 0.02 if study == "frozen_base" else 0.004,
        "max_iter": 30, "snapshot": 10, "display": 1, "random_seed": 7,
    }  # fmt: skip
    return adam(**fields) if study == "lstm_adam" else sgd(iter_size=2 if study == "all_layers" else 1, **fields)


@pytest.mark.parametrize("study", STUDIES)
def test_definition_and_solver_are_those_that_genuine_caffe_trained(study, golden):
    folder = golden / "studies" / study
    assert same(definition(study), upgrade_net(read_net(folder / "train.prototxt")))
    assert same(solver(study), read_solver(folder / "solver.prototxt"))


@pytest.mark.parametrize("study", COURSES)
def test_the_builders_nets_follow_genuine_caffes_training(study, golden, tmp_path, monkeypatch):
    recorded = golden / "studies" / study
    for name in ("a.h5", "b.h5", "list.txt", "init.caffemodel"):
        shutil.copyfile(recorded / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    write_text(definition(study), "train.prototxt")
    record = np.load(recorded / "record.npz")
    trained = Solver(solver(study))
    trained.load_weights("init.caffemodel")
    worst = 0.0
    for iteration, loss in enumerate(record["loss"], 1):
        trained.step(1)
        worst = max(worst, abs(float(trained.outputs["loss"]) / loss - 1))
        worst = max([worst, *differences(trained, record, f"iter{iteration}/")])
    assert worst <= LIMIT


def differences(trained, record, prefix):
    blobs = caffe_blobs(trained.net)
    for key in record.files:
        if key.startswith(prefix):
            _, layer, index = key.split("/")
            error = np.abs(blobs[layer][int(index)].numpy() - record[key]).max()
            yield float(error / max(np.abs(record[key]).max(), 1e-3))


def test_a_training_keeps_what_the_base_says_of_its_rates_unless_it_is_frozen():
    trained, frozen = (
        [[param.lr_mult for param in layer.param] for layer in headed_training_net(small(), DATA, frozen=frozen).layer]
        for frozen in (False, True)
    )
    assert {rate for rates in trained for rate in rates} == {0, 1, 2}
    assert frozen == [[0] * len(rates) for rates in trained]


def test_a_definition_without_rates_gets_them_where_it_is_frozen():
    net = with_head(read_net(prototxt.path("known/imagenet-resnet50.prototxt")), blob="pool5", hidden=16, classes=8)
    message = headed_training_net(net, DATA, frozen=True)
    counts = {layer.name: [param.lr_mult for param in layer.param] for layer in message.layer}
    assert (counts["conv1"], counts["res2a_branch1"], counts["bn_conv1"]) == ([0, 0], [0], [0, 0, 0])
    assert counts["dense"] == counts["scores"] == []
    assert "fc1000" not in counts


def test_statistics_of_batches_are_for_training_all_layers_only():
    def stored(**options):
        message = headed_training_net(small(), DATA, stored_statistics=False, **options)
        return {layer.batch_norm_param.use_global_stats for layer in message.layer if layer.type == "BatchNorm"}

    assert stored(frozen=True) == {True}
    assert stored(frozen=False) == {False}


def test_a_test_gives_the_accuracy_and_training_drops():
    data = [hdf5_data("list.txt", 8, phase) for phase in (pb.TRAIN, pb.TEST)]
    message = headed_training_net(small(dropout=0.4), data, frozen=False, accuracy=True)
    drop, accuracy = (next(layer for layer in message.layer if layer.type == kind) for kind in ("Dropout", "Accuracy"))
    assert drop.dropout_param.dropout_ratio == pytest.approx(0.4)
    assert (list(accuracy.bottom), accuracy.include[0].phase) == (["scores", "label"], pb.TEST)


def test_an_unknown_blob_is_refused_with_the_nearest():
    with refused("name-unknown", field="blob", value="pol5", hint="'pool5'"):
        with_head(small_resnet(), blob="pol5", hidden=16, classes=8)


def test_the_head_on_features_computed_before_answers_as_the_whole_net():
    net = load_net(small().deploy, seed=1)
    blobs = net.every_blob({"data": torch.rand(1, 3, 32, 32)})
    alone = with_head(features_input(small_resnet(), "pool5"), blob="pool5", hidden=16, classes=8)
    weights = {layer: [blob.numpy() for blob in caffe_blobs(net)[layer]] for layer in alone.head}
    answer = load_net(alone.deploy, weights)(blobs["pool5"])
    assert torch.equal(answer, blobs["prob"])


def test_the_head_for_sequences_has_the_sizes_of_the_paper():
    sizes = Counter()
    for slot in build_graph(prepare(SequenceHead().deploy())).slots:
        sizes[slot.layer] += math.prod(slot.blob.shape)
    assert sizes == {"lstm": 12_587_008, "dense": 524_800, "scores": 4_104}
    assert sum(sizes.values()) == 13_115_912


def test_sequences_are_applied_as_they_were_trained():
    graph = build_graph(prepare(SMALL_SEQUENCES.deploy(3)))
    assert graph.shapes["prob"] == (3, 8)
    assert graph.outputs == ("prob",)


def test_a_sequence_of_one_frame_is_refused():
    with refused("out-of-range", field="steps", value=1):
        SequenceHead(steps=1)
