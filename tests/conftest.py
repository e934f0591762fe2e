"""What all tests share: recorded data, quiet threads, the same random numbers every time."""

import importlib.util
import os
import random
import signal
import sys
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
def shared() -> Path:
    """The folder of recorded data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"recorded data is not beside the checkout: {SHARED} does not exist")
    return SHARED


@pytest.fixture(scope="session")
def reference(shared: Path) -> Path:
    """What genuine Caffe and MATLAB computed."""
    folder = shared / "reference"
    if not folder.is_dir():
        pytest.skip(f"recorded data is not beside the checkout: {folder} does not exist")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Small records that every clone has."""
    return ROOT / "tests" / "golden"


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)
