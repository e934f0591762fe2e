"""Every recorded layer case: what genuine Caffe 1.0 (CPU, OpenBLAS, float32) computed, forward and backward."""

from pathlib import Path

import numpy as np
import pytest

from caffe_compat.formats.files import read_net
from caffe_compat.layers import REGISTRY
from tests.records import Replay

FORWARD = 3e-6
"""Of the largest magnitude: sums of float32 in another order, and libm's last bit."""
BACKWARD = 2e-5
"""Of the largest magnitude: gradients add up more terms, in another order."""
CASES = sorted(p for p in (Path(__file__).parents[1] / "golden" / "layers").iterdir())


def _records(folder: Path, kind: str) -> list[str]:
    """Name the recorded arrays of one kind (`out/`, `after/`)."""
    with np.load(folder / "record.npz") as record:
        return [key for key in record.files if key.startswith(kind)]


def _grown(replay: Replay) -> set[str]:
    """The recorded gradients that a replay must produce: all but those of labels and statistics, which have none."""
    expected = {k for k in replay.record.files if k.startswith(("grad/", "pgrad/")) and replay.record[k].any()}
    return expected if replay.case["backward"] else set()


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
    recorded = {layer.type for case in CASES for layer in read_net(case / "net.prototxt").layer}
    assert recorded | set(WITHOUT_RECORD) == set(REGISTRY)
    assert not recorded & set(WITHOUT_RECORD)


@pytest.mark.parametrize("folder", CASES, ids=lambda p: p.name)
def test_the_outputs_are_caffes(folder: Path) -> None:
    differences = Replay(folder).outputs()
    assert {d.what for d in differences} == set(_records(folder, "out/"))
    for difference in differences:
        assert difference.relative <= FORWARD, str(difference)


@pytest.mark.parametrize("folder", [c for c in CASES if _records(c, "after/")], ids=lambda p: p.name)
def test_the_blobs_after_the_passes_are_caffes(folder: Path) -> None:
    differences = Replay(folder).after()
    assert {d.what for d in differences} == set(_records(folder, "after/"))
    for difference in differences:
        assert difference.relative <= FORWARD, str(difference)


@pytest.mark.parametrize("folder", [c for c in CASES if "true" in (c / "case.json").read_text()], ids=lambda p: p.name)
def test_the_gradients_are_caffes(folder: Path) -> None:
    replay = Replay(folder)
    differences = replay.gradients()
    assert _grown(replay) <= {d.what for d in differences}
    for difference in differences:
        assert difference.relative <= BACKWARD, str(difference)
