"""Solvers of every age become current ones as Caffe makes them."""

import pytest

from caffe_compat.definition.upgrade import upgrade_snapshot_prefix, upgrade_solver
from caffe_compat.formats.files import parse_text, unknown_fields
from caffe_compat.schema.caffe_pb2 import SolverParameter
from tests.refusals import refused


def solver(text):
    return parse_text(text, SolverParameter, file="solver.prototxt")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SGD", "SGD"), ("NESTEROV", "Nesterov"), ("ADAGRAD", "AdaGrad"), ("RMSPROP", "RMSProp"), ("ADADELTA", "AdaDelta"),
        ("ADAM", "Adam"), ("5", "Adam"),
    ],
)  # fmt: skip
def test_the_identifier_of_old_becomes_the_type(old, new):
    message = solver(f"solver_type: {old} base_lr: 1")
    assert upgrade_solver(message) == SolverParameter(type=new, base_lr=1)
    assert message.HasField("solver_type")


@pytest.mark.parametrize("name", SolverParameter.SolverType.keys())
def test_every_identifier_has_a_type(name):
    assert upgrade_solver(solver(f"solver_type: {name}")).type


def test_both_forms_together_are_refused():
    with refused("conflict", field="solver_type"):
        upgrade_solver(solver("solver_type: SGD type: 'Adam'"))


def test_a_current_solver_is_only_copied():
    message = solver("type: 'Adam' own: 1")
    assert upgrade_solver(message) == message
    assert unknown_fields(upgrade_solver(message))[0].field == "own"


def test_the_snapshot_prefix_is_the_files_name_by_default_and_in_a_folder(tmp_path):
    assert upgrade_snapshot_prefix(solver(""), "a/b.prototxt").snapshot_prefix == "a/b"
    assert upgrade_snapshot_prefix(solver("snapshot_prefix: 'x/y'"), "a/b.prototxt").snapshot_prefix == "x/y"
    inside = upgrade_snapshot_prefix(solver(f"snapshot_prefix: '{tmp_path}'"), "a/b.prototxt").snapshot_prefix
    assert inside == str(tmp_path / "b")
