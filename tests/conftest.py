"""Shared by all tests: recorded data, quiet threads, the same random numbers every time."""

import importlib.util
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# Before NumPy or torch start their thread pools; a worker of pytest-xdist has one core to itself, and inherits what its
# parent chose here.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ |= dict.fromkeys(os.environ.get("TEST_THREADS", "").split(), "1")
else:
    os.environ["TEST_THREADS"] = " ".join(
        name for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if name not in os.environ
    )
    os.environ |= dict.fromkeys(os.environ["TEST_THREADS"].split(), "2")

import hypothesis
import numpy as np
import pytest

from tests.golden_nets import GOLDEN, unpack_nets

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# Large nets with exact=True, whose sums take some hundred times as long without Numba.
SLOW_WITHOUT_NUMBA = pytest.mark.slow if importlib.util.find_spec("numba") is None else ()

# A script in the background, or nohup, hands ignored signals on; processes that tests start inherit only those.
for _signal, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (getattr(signal, "SIGHUP", None), signal.SIG_DFL),
):
    if _signal is not None and signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, _handler)

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def golden() -> Path:
    """What genuine Caffe and MATLAB's scripts computed, as every clone has it."""
    return GOLDEN


@pytest.fixture(scope="session")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The authors' nets that genuine Caffe ran, with weights and data unpacked. Not to be changed."""
    folder = tmp_path_factory.mktemp("nets")
    unpack_nets(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # pytest would keep the last three


class Elsewhere:
    """The folders of ../shared/reference, which no clone has; a test that needs one that is missing is skipped."""

    def __truediv__(self, name: str) -> Path:
        folder = SHARED / "reference" / name
        if not folder.is_dir():
            pytest.skip(f"needs ../shared/reference/{name}, which was brought from elsewhere")
        return folder


@pytest.fixture(scope="session")
def reference() -> Elsewhere:
    """MATLAB's recordings (matlab), images, and the nets and labels of other people (published, ferplus)."""
    return Elsewhere()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def case(folder: Path) -> Path:
    """The working directory with a solver and a net that trains in milliseconds."""
    from tests.solver.case import write_case

    return write_case(folder)


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)
