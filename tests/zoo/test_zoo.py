"""Other people's definitions, where a folder of them is given."""

import os
from pathlib import Path

import pytest

from caffe_compat.definition.upgrade import upgrade_net, upgrade_solver
from caffe_compat.formats.files import format_text, parse_text, read_net, read_solver, same
from caffe_compat.schema.caffe_pb2 import NetParameter, SolverParameter
from caffe_compat.tools.survey import Kind, kind_of, survey

VARIABLE = "CAFFE_COMPAT_ZOO"
BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "zoo"


def zoo():
    """Return each definition with its folder: one of the variable, or of ../shared/zoo."""
    named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    folders = named or (sorted(path for path in BESIDE.iterdir() if path.is_dir()) if BESIDE.is_dir() else [])
    files = [(folder, file) for folder in folders for file in sorted(folder.rglob("*.prototxt*")) if file.is_file()]
    reason = f"no folder of definitions: {VARIABLE} is not set and {BESIDE} does not exist"
    none = pytest.param(None, None, marks=pytest.mark.skip(reason=reason), id="none")
    return [pytest.param(*pair, id=str(pair[1].relative_to(pair[0]))) for pair in files] or [none]


@pytest.mark.parametrize(("folder", "file"), zoo())
def test_a_definition_is_read_upgraded_and_built_or_refused_by_name(folder, file):
    if kind_of(file) is Kind.SOLVER:
        solver = read_solver(file)
        assert same(parse_text(format_text(solver), SolverParameter), solver)
        assert not upgrade_solver(solver).HasField("solver_type")
    else:
        net = read_net(file)
        assert same(parse_text(format_text(net), NetParameter), net)
        assert upgrade_net(upgrade_net(net)) == upgrade_net(net)
        surveyed = survey(file, folder)
        assert surveyed.lack is None or os.fspath(file) in surveyed.problem
