"""A photograph."""

import pytest


@pytest.fixture(scope="session")
def astronaut():
    return pytest.importorskip("skimage.data", reason="needs scikit-image (the extra `demo`)").astronaut()
