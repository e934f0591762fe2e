"""Caffe's own log tools find what they look for: the patterns of tools/extra/parse_log.py and parse_log.sh, as facts."""

import io
import re

import pytest

from caffe_compat.formats.files import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import CaffeLog, Solver
from tests.solver.case import SOLVER

ITERATION = r"Iteration (\d+)"
TRAIN = r"Train net output #(\d+): (\S+) = ([\.\deE+-]+)"
TEST = r"Test net output #(\d+): (\S+) = ([\.\deE+-]+)"
RATE = r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)"
STAMP = r"^[IWE](\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{6}) +\d+ "


@pytest.fixture
def log(case):
    stream = io.StringIO()
    Solver(
        parse_text(SOLVER.replace("base_lr: 0.01", "base_lr: 1e-5"), pb.SolverParameter), log=CaffeLog(stream)
    ).solve()
    return stream.getvalue().splitlines()


def rows(log, pattern):
    """The parser's walk: the last iteration named belongs to the outputs that follow."""
    iteration, found = -1, []
    for line in log:
        if match := re.search(ITERATION, line):
            iteration = int(match[1])
        if match := re.search(pattern, line):
            found.append((iteration, match[2], float(match[3])))
    return found


def test_outputs_are_found_with_their_iterations(log):
    assert [(iteration, name) for iteration, name, _ in rows(log, TRAIN)] == [(0, "loss"), (4, "loss"), (8, "loss")]
    assert [(iteration, name) for iteration, name, _ in rows(log, TEST)] == [(0, "loss"), (6, "loss"), (12, "loss")]


def test_rates_are_found(log):
    assert [float(match[1]) for line in log if (match := re.search(RATE, line))] == [1e-5] * 3


def test_lines_from_the_first_solving_on_have_stamps_and_that_word_comes_first_there(log):
    first = next(i for i, line in enumerate(log) if "Solving" in line)
    assert re.search(r"\] Solving tiny$", log[first])
    assert all(re.match(STAMP, line) for line in log[first:])


def test_columns_that_the_shell_script_prints_are_the_values(log):
    (line, *_) = [line for line in log if "Test net output #0" in line]
    assert float(line.split()[10]) > 0
    (line, *_) = [line for line in log if ", lr = " in line]
    assert line.split()[8] == "1e-05"
    (line, *_) = [line for line in log if ", loss = " in line]
    assert float(line.split("=")[1]) > 0
