"""Rules about solvers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from caffe_compat.definition.upgrade import upgrade_solver
from caffe_compat.errors import CaffeCompatError, ProblemsError
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver.fields import check_solver
from caffe_compat.solver.policy import POLICIES
from caffe_compat.tools.lint.rules import Finding

_OF_TYPES = {
    "momentum2": {"Adam"},
    "rms_decay": {"RMSProp"},
    "delta": {"AdaGrad", "RMSProp", "AdaDelta", "Adam"},
}
"""Fields that only solvers of these types read."""


class SolverRules:
    """The rules, over one solver.

    Parameters
    ----------
    raw : as written.
    file, lines : where it was read from, and where its fields stand.
    """

    def __init__(self, raw: pb.SolverParameter, file: str, lines: Mapping[tuple[int, str], int]) -> None:
        self.raw, self.file, self.lines = raw, file, lines

    def _at(self, rule: str, level: str, field: str, problem: str, why: str, hint: str) -> Finding:
        return Finding(rule, level, problem, why, hint, self.file, self.lines.get((0, field), 0))

    def findings(self) -> Iterator[Finding]:
        """Yield everything found."""
        try:
            param = upgrade_solver(self.raw)
        except CaffeCompatError as error:
            yield self._at("solver", "error", "solver_type", str(error.problem), "Caffe stops here", error.hint or "")
            return
        yield from self._stops(param)
        if self.raw.HasField("solver_type"):
            told = f"solver_type, replaced by type: {param.type!r}"
            hint = f'type: "{param.type}"; caffe-compat upgrade writes it'
            yield self._at("deprecated", "warning", "solver_type", told, "later forks do not read it", hint)
        yield from self._tests(param)
        yield from self._steps(param)
        yield from self._without_effect(param)
        yield from self._snapshots(param)

    def _stops(self, param: pb.SolverParameter) -> Iterator[Finding]:
        try:
            check_solver(param)
        except CaffeCompatError as error:
            for problem in error.problems if isinstance(error, ProblemsError) else (error,):
                field = problem.field or ""
                value = "" if problem.value is None else f" = {problem.value}"
                told = f"{field}{value}: {problem.problem}"
                yield self._at("solver", "error", field, told, "training cannot start", problem.hint or "")

    def _tests(self, param: pb.SolverParameter) -> Iterator[Finding]:
        nets = len(param.test_net) + len(param.test_net_param)
        if param.test_iter and not param.test_interval:
            yield self._at(
                "solver-tests", "error", "test_iter", "test_iter without test_interval",
                "Caffe stops: there are test nets and no interval", "test_interval: 500",
            )  # fmt: skip
        if param.test_interval and not param.test_iter:
            level, told = ("error", f"{nets} test nets and no test_iter") if nets else ("warning", "no test_iter")
            yield self._at(
                "solver-tests", level, "test_interval", f"test_interval with {told}",
                "Caffe stops: every test net needs one" if nets else "no test is ever run",
                "test_iter: the number of batches that make up the test set",
            )  # fmt: skip
        if param.test_interval > param.max_iter > 0 and param.test_iter:
            yield self._at(
                "solver-tests", "note", "test_interval", f"test_interval is beyond max_iter ({param.max_iter})",
                "only the untrained net is tested", "a smaller test_interval",
            )  # fmt: skip

    def _steps(self, param: pb.SolverParameter) -> Iterator[Finding]:
        values = list(param.stepvalue)
        if param.lr_policy == "multistep":
            if not values:
                yield self._at(
                    "solver-steps", "warning", "lr_policy", "lr_policy multistep without a stepvalue",
                    "the rate never changes", "stepvalue: 10000 stepvalue: 15000",
                )  # fmt: skip
            if values != sorted(values):
                yield self._at(
                    "solver-steps", "warning", "stepvalue", f"step values out of order: {values}",
                    "Caffe takes them in this order: a smaller one comes an iteration after the one before it",
                    f"stepvalue: {sorted(values)}",
                )  # fmt: skip
        late = [value for value in values if value >= param.max_iter > 0]
        if param.lr_policy == "step" and param.stepsize >= param.max_iter > 0:
            late = [param.stepsize]
        if late and param.lr_policy in ("multistep", "step"):
            field = "stepvalue" if values else "stepsize"
            yield self._at(
                "solver-steps", "note", field, f"{field} {late[0]} lies at or beyond max_iter {param.max_iter}",
                "that change of the rate never comes", "a smaller one, or a larger max_iter",
            )  # fmt: skip
        if param.lr_policy in ("step", "exp", "multistep", "inv", "sigmoid") and not param.gamma:
            yield self._at(
                "solver-steps", "warning", "lr_policy", f"lr_policy {param.lr_policy} with gamma 0",
                "the rate becomes 0 or never changes", "gamma: 0.1",
            )  # fmt: skip

    def _without_effect(self, param: pb.SolverParameter) -> Iterator[Finding]:
        reads = POLICIES.get(param.lr_policy)
        for field in ("gamma", "power", "stepsize", "stepvalue"):
            given = bool(param.stepvalue) if field == "stepvalue" else param.HasField(field)
            if reads is not None and given and field not in reads:
                yield self._at(
                    "ignored-field", "warning", field, f"lr_policy {param.lr_policy!r} does not read {field}",
                    "it has no effect", f"remove it, or another policy: {self._readers(field)}",
                )  # fmt: skip
        for field, types in _OF_TYPES.items():
            if param.HasField(field) and param.type not in types:
                yield self._at(
                    "ignored-field", "warning", field, f"a solver of type {param.type} does not read {field}",
                    "it has no effect", f"remove it, or type: {' or '.join(sorted(types))}",
                )  # fmt: skip
        if param.HasField("regularization_type") and not param.weight_decay:
            yield self._at(
                "ignored-field", "note", "regularization_type", "regularization_type without weight_decay",
                "it has no effect", "weight_decay: 0.0005",
            )  # fmt: skip
        for field in ("snapshot_format", "snapshot_diff", "snapshot_prefix"):
            if param.HasField(field) and not param.snapshot and not param.snapshot_after_train:
                yield self._at(
                    "ignored-field", "warning", field, f"{field}, and no snapshot is taken",
                    "it has no effect", "snapshot: 1000, or snapshot_after_train: true",
                )  # fmt: skip

    @staticmethod
    def _readers(field: str) -> str:
        return ", ".join(sorted(name for name, reads in POLICIES.items() if field in reads))

    def _snapshots(self, param: pb.SolverParameter) -> Iterator[Finding]:
        if not param.snapshot and not param.snapshot_after_train:
            yield self._at(
                "solver-snapshots", "warning", "snapshot_after_train", "no snapshot is taken, not even at the end",
                "what was learned is lost", "snapshot_after_train: true",
            )  # fmt: skip
        elif not param.snapshot_prefix:
            told = f"no snapshot_prefix: snapshots are named after the solver, {Path(self.file).stem}_iter_N"
            yield self._at("solver-snapshots", "note", "snapshot", told, "as in Caffe", 'snapshot_prefix: "run/net"')
        if param.snapshot > param.max_iter > 0 and not param.snapshot_after_train:
            yield self._at(
                "solver-snapshots", "warning", "snapshot", f"snapshot {param.snapshot} is beyond max_iter",
                "no snapshot is ever taken", "a smaller one, or snapshot_after_train: true",
            )  # fmt: skip
