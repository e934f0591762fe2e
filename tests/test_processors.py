"""The bits of ``exact=True`` do not depend on the kernels that other libraries pick for the processor.

The parity tests run again in processes that see another processor, other numbers of threads, or no Numba.
"""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SETTINGS = {
    "oneDNN AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "ATen AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "ATen default": {"ATEN_CPU_CAPABILITY": "default"},
    "MKL AVX2": {"MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "MKL compatible": {"MKL_CBWR": "COMPATIBLE"},
    "Numba without FMA": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
    "1 thread": dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "4 threads": dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "4"),
}
OLDEST = SETTINGS["ATen default"] | SETTINGS["MKL compatible"] | {"ONEDNN_MAX_CPU_ISA": "SSE41"}
SHORT = ("tests/kernels/test_kernels.py", "-k", "these or known or threads or equal_images")
RECORDS = ("tests/kernels/test_records.py",)
PARITY = ("tests/kernels", "tests/build/test_authors_nets.py", "tests/solver/test_authors_traces.py")
WITHOUT_NUMBA = "import sys; sys.modules['numba'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"


def run(setting, *arguments, program=("-m", "pytest")):
    """Run tests in a process of their own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "OMP_", "MKL_"))} | setting
    command = [sys.executable, *program, "-n", "0", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=3600)
    assert done.returncode == 0, f"{setting} {arguments}:\n{done.stdout[-6000:]}{done.stderr[-2000:]}"
    assert " passed" in done.stdout


def test_on_an_old_processor_with_four_threads_the_bits_are_the_same():
    run(OLDEST | SETTINGS["4 threads"], *RECORDS, *SHORT)


def test_without_numba_the_bits_are_the_same():
    run({}, *RECORDS, *SHORT, program=("-c", WITHOUT_NUMBA))


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_every_parity_test_passes_under(setting):
    slowly = "NUMBA_CPU_NAME" in setting  # each multiply-add is a call of libm's
    run(setting, *(("tests/kernels",) if slowly else PARITY))


@pytest.mark.slow
def test_the_authors_nets_are_caffes_without_numba():
    selection = ("-k", "every_blob", "-m", "slow or not slow")
    run({}, "tests/build/test_authors_nets.py", *selection, program=("-c", WITHOUT_NUMBA))
