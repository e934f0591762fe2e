"""Recorded layers of forks: what weiliu89/caffe (ssd; CPU, OpenBLAS, float32) computed, forward and backward."""

from pathlib import Path

import pytest

from tests.layers.test_records import BACKWARD, FORWARD
from tests.records import Replay

CASES = sorted(p for p in (Path(__file__).parents[1] / "golden" / "forks").iterdir() if p.is_dir())


@pytest.mark.parametrize("folder", CASES, ids=lambda p: p.name)
def test_outputs_and_gradients_are_the_forks(folder):
    replay = Replay(folder)
    outputs = replay.outputs()
    assert outputs
    for difference in outputs:
        assert difference.relative <= FORWARD, str(difference)
    for difference in replay.gradients():
        assert difference.relative <= BACKWARD, str(difference)


def test_the_outputs_of_every_record_are_the_forks(reference):
    folders = sorted((reference / "caffe" / "forks" / "ssd").iterdir())
    assert len(folders) >= 12
    for folder in folders:
        for difference in Replay(folder).outputs():
            assert difference.relative <= FORWARD, f"{folder.name}: {difference}"
