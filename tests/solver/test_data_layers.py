"""Solvers fed by databases, pictures and fillers: they learn, and go on from a snapshot to the bit."""

import cv2
import h5py
import numpy as np
import pytest

from caffe_compat.build.net import load_net
from caffe_compat.build.weights import caffe_blobs
from caffe_compat.data import Prefetch
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.files import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from tests.data.databases import datum, write_leveldb, write_lmdb

TRANSFORM = "transform_param { mirror: true crop_size: 5 scale: 0.00390625 }"
FEEDS = {
    "LMDB": f'type: "Data" data_param {{ source: "db" batch_size: 4 backend: LMDB }} {TRANSFORM}',
    "LEVELDB": f'type: "Data" data_param {{ source: "leveldb" batch_size: 4 backend: LEVELDB prefetch: 2 }} {TRANSFORM}',
    "list": f'type: "ImageData" image_data_param {{ source: "list.txt" batch_size: 4 shuffle: true }} {TRANSFORM}',
    "HDF5": 'type: "HDF5Data" hdf5_data_param { source: "h5.txt" batch_size: 4 }',
    "windows": 'type: "WindowData" window_data_param { source: "windows.txt" batch_size: 4 } transform_param { mirror: true crop_size: 5 }',
    "fillers": 'type: "DummyData" dummy_data_param { shape { dim: 4 dim: 3 dim: 5 dim: 5 } shape { dim: 4 } data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } }',
}  # fmt: skip
NET = """
name: "tiny"
layer {{ name: "feed" top: "data" top: "label" {feed} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param {{ num_output: 2 weight_filler {{ type: "gaussian" std: 0.01 }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" max_iter: 40 test_iter: 3 test_interval: 6
snapshot: 7 snapshot_prefix: "snap" solver_mode: CPU random_seed: 3
"""


@pytest.fixture
def folder(folder):
    rng = np.random.default_rng(0)
    lines, datums = [], []
    for number in range(9):
        label = number % 2
        picture = rng.integers(0, 128, (3, 7, 8), dtype=np.uint8)
        picture[label] += 100
        datums.append(datum(picture, label))
        cv2.imwrite(f"{number}.png", np.ascontiguousarray(picture.transpose(1, 2, 0)))
        lines.append(f"{number}.png {label}")
    write_lmdb(folder / "db", datums)
    with h5py.File("data.h5", "w") as file:
        file["data"] = np.stack([np.frombuffer(item.data, "u1").reshape(3, 7, 8) / 256 for item in datums])
        file["label"] = np.arange(9) % 2
    (folder / "h5.txt").write_text("data.h5")
    (folder / "list.txt").write_text("\n".join(lines))
    (folder / "windows.txt").write_text(
        "\n".join(f"# {i}\n{i}.png 3 7 8 2\n1 1 1 1 6 6\n1 0 0 0 3 3" for i in range(9))
    )
    return folder


def solver(**fields):
    param = parse_text(SOLVER, pb.SolverParameter)
    param.MergeFrom(pb.SolverParameter(**fields))
    return Solver(param)


def same(one, two):
    blobs = caffe_blobs(two.net)
    return all(
        np.array_equal(a, b)
        for layer, mine in caffe_blobs(one.net).items()
        for a, b in zip(mine, blobs[layer], strict=True)
    )


@pytest.mark.parametrize("feed", FEEDS)
def test_a_resumed_run_has_the_bits_of_one_never_stopped(folder, feed):
    if feed == "LEVELDB":
        write_leveldb(folder / "leveldb", [datum(np.full((3, 7, 8), 20 * i, np.uint8), i % 2) for i in range(9)])
    (folder / "net.prototxt").write_text(NET.format(feed=FEEDS[feed]))
    whole = solver()
    assert isinstance(whole._train.sources[0], Prefetch) is (feed != "fillers")
    whole.solve()
    resumed = solver(random_seed=77)
    resumed.step(2)  # batches made ahead of what is gone to do not count
    resumed.restore("snap_iter_14.solverstate")
    resumed.solve()
    assert same(whole, resumed)
    restarted = solver(random_seed=77)
    restarted.restore("snap_iter_14.solverstate", restart_data=True)
    restarted.solve()
    assert not same(whole, restarted)


def test_a_seed_gives_a_run_again_and_another_seed_another_one(folder):
    (folder / "net.prototxt").write_text(NET.format(feed=FEEDS["list"]))
    runs = [solver(random_seed=seed) for seed in (3, 3, 4)]
    for run in runs:
        run.step(5)
    assert same(runs[0], runs[1])
    orders = [run._train.sources[0].cursor()["order"].tolist() for run in runs]
    assert orders[0] == orders[1] != orders[2]


def test_a_small_net_learns_from_a_database(folder):
    (folder / "net.prototxt").write_text(NET.format(feed=FEEDS["LMDB"]))
    run = solver()
    first = run.test(0).loss
    run.step(60)
    assert run.test(0).loss < first / 3


def test_phases_crop_and_mirror_on_their_own(folder):
    (folder / "net.prototxt").write_text(NET.format(feed=FEEDS["LMDB"].replace("mirror: true", "")))
    run = solver()
    train, test = (net.sources[0].source for net in (run._train, run._tests[0]))
    assert train.cursor()["random"].size == 625
    assert test.cursor()["random"].size == 0, "a crop in the middle needs no random numbers"


def test_shapes_come_from_the_data_or_the_definition_where_none_are_given(folder):
    for feed, expected in (
        ("LMDB", (4, 3, 5, 5)),
        ("list", (4, 3, 5, 5)),
        ("windows", (4, 3, 5, 5)),
        ("fillers", (4, 3, 5, 5)),
    ):
        (folder / "net.prototxt").write_text(NET.format(feed=FEEDS[feed]))
        assert load_net("net.prototxt").caffe.shapes["data"] == expected
        assert load_net("net.prototxt", phase="TRAIN").caffe.shapes["label"] == (4,)
    memory = 'type: "MemoryData" memory_data_param { batch_size: 2 channels: 1 height: 3 width: 4 }'
    (folder / "net.prototxt").write_text(NET.format(feed=memory))
    assert load_net("net.prototxt").caffe.shapes["data"] == (2, 1, 3, 4)


def test_a_run_without_its_data_ends_before_it_begins_with_all_that_is_missing(folder):
    feed = FEEDS["LMDB"].replace('"db"', '"gone"')
    (folder / "net.prototxt").write_text(NET.format(feed=feed))
    with pytest.raises(CaffeCompatError) as caught:
        solver()
    assert (caught.value.layer, caught.value.field, caught.value.value) == ("feed", "data_param.source", "gone")
    with pytest.raises(CaffeCompatError) as caught:
        load_net("net.prototxt")
    assert (caught.value.file, caught.value.line, caught.value.layer) == ("net.prototxt", 3, "feed")
    assert "input_shapes" in (caught.value.hint or "")
