"""`PortError` shares its codes, fields and text with the engine's errors; the package needs neither torch nor the engine."""

import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from caffe_compat import errors as engine
from matlab_ports import PortError
from matlab_ports._support.errors import Code

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {"file": "a.mat", "line": 3, "field": "video", "value": (1, 2), "hint": "write it again"}


def test_codes_are_a_subset_of_the_engines():
    assert set(get_args(Code)) <= set(get_args(engine.Code))


def test_keywords_are_those_of_the_engine_without_column_and_layer():
    keywords = inspect.signature(engine.CaffeCompatError).parameters
    assert [*inspect.signature(PortError).parameters] == [name for name in keywords if name not in ("column", "layer")]


@pytest.mark.parametrize(
    "names",
    [(), ("file",), ("line",), ("file", "line"), ("field",), ("value",), ("field", "value"), tuple(FIELDS)],
    ids=lambda names: "+".join(names) or "none",
)
def test_the_text_equals_that_of_the_engines_error(names):
    fields = {name: FIELDS[name] for name in names}
    error = PortError("has two\nlines \x1b", code="invalid", **fields)
    assert str(error) == str(engine.CaffeCompatError("has two\nlines \x1b", code="invalid", **fields))


def test_a_long_value_is_shortened():
    assert len(str(PortError("is too long", code="invalid", value="x" * 1000))) < 120


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
