"""Every recorded layer case: what genuine Caffe 1.0 (CPU, OpenBLAS, float32) computed, forward and backward."""

from pathlib import Path

import pytest

from tests.records import Replay

FORWARD = 3e-6
"""Of the largest magnitude: sums of float32 in another order, and libm's last bit."""
BACKWARD = 2e-5
"""Of the largest magnitude: gradients add up more terms, in another order."""
CASES = sorted(p for p in (Path(__file__).parents[1] / "golden" / "layers").iterdir())


def _grown(replay: Replay) -> set[str]:
    """The recorded gradients that a replay must produce: all but those of labels and statistics, which have none."""
    wanted = {k for k in replay.record.files if k.startswith(("grad/", "pgrad/")) and replay.record[k].any()}
    return wanted if replay.case["backward"] else set()


def test_there_is_a_record_for_every_layer_type_that_computes() -> None:
    assert len(CASES) == 92


@pytest.mark.parametrize("folder", CASES, ids=lambda p: p.name)
def test_the_outputs_are_caffes(folder: Path) -> None:
    found = Replay(folder).outputs()
    assert found
    for difference in found:
        assert difference.relative <= FORWARD, str(difference)


@pytest.mark.parametrize("folder", CASES, ids=lambda p: p.name)
def test_the_blobs_after_the_passes_are_caffes(folder: Path) -> None:
    for difference in Replay(folder).after():
        assert difference.relative <= FORWARD, str(difference)


@pytest.mark.parametrize("folder", [c for c in CASES if "true" in (c / "case.json").read_text()], ids=lambda p: p.name)
def test_the_gradients_are_caffes(folder: Path) -> None:
    replay = Replay(folder)
    found = replay.gradients()
    assert _grown(replay) <= {d.what for d in found}
    for difference in found:
        assert difference.relative <= BACKWARD, str(difference)
