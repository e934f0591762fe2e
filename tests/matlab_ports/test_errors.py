"""Errors cross processes, and the ports need neither torch nor the engine."""

import pickle
import subprocess
import sys
from pathlib import Path

from caffe_compat import errors as engine
from matlab_ports import PortError

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {"file": "a.mat", "line": 3, "field": "video", "value": (1, 2), "hint": "write it again"}


def test_an_error_survives_pickling():
    error = pickle.loads(pickle.dumps(PortError("is empty", code="empty", **FIELDS)))
    assert (error.code, error.problem, {name: getattr(error, name) for name in FIELDS}) == ("empty", "is empty", FIELDS)


def test_the_package_imports_neither_torch_nor_the_engine():
    program = """
import sys
import matlab_ports, matlab_ports.__main__
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("torch", "caffe_compat", "lq_emotion")))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_engines_errors_survive_pickling():
    fields = {**FIELDS, "column": 7, "layer": "conv1"}
    original = engine.NetError("is empty", code="empty", **fields)
    several = pickle.loads(pickle.dumps(engine.ProblemsError([original, original])))
    for error in (pickle.loads(pickle.dumps(original)), *several.problems):
        assert (type(error), str(error), error.code) == (engine.NetError, str(original), "empty")
    assert (several.code, str(several)) == ("several", str(engine.ProblemsError([original, original])))
