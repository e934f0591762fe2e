"""Every recorded layer case: what genuine Caffe 1.0 and forks of it (CPU, OpenBLAS, float32) computed."""

from pathlib import Path

import numpy as np
import pytest

from caffe_compat.formats.files import read_net
from caffe_compat.kernels.fast.library import vector_lengths
from caffe_compat.layers import REGISTRY
from tests.records import BACKWARD, BOTH_PATHS, CASES, FORWARD, LAYERS, Replay


def _records(folder: Path, kind: str) -> list[str]:
    """Name the recorded arrays of one kind (`out/`, `after/`)."""
    with np.load(folder / "record.npz") as record:
        return [key for key in record.files if key.startswith(kind)]


def _gradients(folder: Path) -> set[str]:
    """Name the recorded gradients: Caffe leaves 0 those of labels, of statistics, and of what no loss depends on."""
    with np.load(folder / "record.npz") as record:
        return {key for key in record.files if key.startswith(("grad/", "pgrad/")) and record[key].any()}


WITHOUT_RECORD = {
    "Data": "tests/data/test_recorded.py",
    "DummyData": "tests/data/test_memory_and_dummy.py",
    "HDF5Data": "feeds the nets of tests/solver/test_recorded.py",
    "ImageData": "tests/data/test_recorded.py",
    "MemoryData": "tests/data/test_recorded.py",
    "WindowData": "tests/data/test_recorded.py",
    "HDF5Output": "has no top; tests/layers/test_hdf5_output.py",
    "LSTMUnit": "recorded inside LSTM only; alone in tests/layers/test_recurrent.py",
    "Parameter": "a learned blob as it is; tests/layers/test_shapes.py",
    "Silence": "has no top; tests/layers/test_contract.py",
    "Python": "code of the user",
}
"""Layer types without a record of their own, and where they are compared instead."""


def test_every_layer_type_has_a_record_or_is_compared_elsewhere() -> None:
    recorded = {layer.type for case in LAYERS for layer in read_net(case / "net.prototxt").layer}
    assert recorded | set(WITHOUT_RECORD) == set(REGISTRY)
    assert not recorded & set(WITHOUT_RECORD)


ASIDE = {
    "concat": "2 and 3 channels: no whole vectors",
    "conv_group": "groups of 2 channels: no whole vectors",
    "shared_weights": "its bottom has two axes",
}
"""Cases whose layers a program may refuse, and why: their modules compute them."""
AFTER = [case for case in CASES if _records(case.values[0], "after/")]
LEARNING = [case for case in CASES if _gradients(case.values[0])]


@BOTH_PATHS
@pytest.mark.parametrize("folder", CASES)
def test_the_outputs_are_caffes(folder: Path, fast: bool) -> None:
    replay = Replay(folder, fast=fast)
    differences = replay.outputs()
    assert differences
    assert {d.what for d in differences} == set(_records(folder, "out/"))
    for difference in differences:
        assert difference.relative <= FORWARD, str(difference)
    if fast and vector_lengths() and replay.case["phase"] == "TEST" and folder.name not in ASIDE:
        assert replay.functions() <= replay.compiled


@BOTH_PATHS
@pytest.mark.parametrize("folder", AFTER)
def test_the_blobs_after_the_passes_are_caffes(folder: Path, fast: bool) -> None:
    differences = Replay(folder, fast=fast).after()
    assert {d.what for d in differences} == set(_records(folder, "after/"))
    for difference in differences:
        assert difference.relative <= FORWARD, str(difference)


@BOTH_PATHS
@pytest.mark.parametrize("folder", LEARNING)
def test_the_gradients_are_caffes(folder: Path, fast: bool) -> None:
    differences = {d.what: d for d in Replay(folder, fast=fast).gradients()}
    recorded = _gradients(folder)
    assert recorded <= differences.keys()
    for difference in differences.values():
        assert difference.relative <= BACKWARD, str(difference)
