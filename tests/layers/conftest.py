import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, where HDF5Output may write."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
