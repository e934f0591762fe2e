"""Drawn recordings that several tests of the first study read."""

import pytest

from tests.lq_emotion.commands import draw_recordings


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """Two recordings to train on and one to test, of six seconds; not to be changed."""
    pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
    return draw_recordings(tmp_path_factory.mktemp("a study") / "recordings", train=2, frames=150, seed=2)
