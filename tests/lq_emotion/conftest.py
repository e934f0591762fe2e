"""Each worker of pytest-xdist has one core to itself, in studies as well."""

import os

import pytest


@pytest.fixture(scope="module", autouse=True)
def _one_core():
    """Prevent studies from starting two threads and two processes on it, of which the threads would outlive the test."""
    with pytest.MonkeyPatch.context() as patched:
        if "PYTEST_XDIST_WORKER" in os.environ:
            patched.setattr("torch.set_num_threads", lambda _: None)
            patched.setattr("os.cpu_count", lambda: 1)
        yield
