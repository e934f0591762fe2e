"""Rules about solvers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from caffe_compat.definition.upgrade import upgrade_solver
from caffe_compat.errors import CaffeCompatError
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver.definitions import check_solver
from caffe_compat.solver.policy import POLICIES
from caffe_compat.tools.lint.rules import Finding

_READ_BY = {"momentum2": {"Adam"}, "rms_decay": {"RMSProp"}, "delta": {"AdaGrad", "RMSProp", "AdaDelta", "Adam"}}
"""Fields that only solvers of these types read."""


class SolverRules:
    """The rules for a solver, as written in `raw`."""

    def __init__(self, raw: pb.SolverParameter, file: str, lines: Mapping[tuple[int, str], int]) -> None:
        self.raw, self.file, self.lines = raw, file, lines

    def _at(self, rule: str, level: str, field: str, problem: str, why: str, hint: str) -> Finding:
        return Finding(rule, level, problem, why, hint, self.file, self.lines.get((0, field), 0))

    def findings(self) -> Iterator[Finding]:
        """Yield the findings of all rules."""
        try:
            param = upgrade_solver(self.raw)
        except CaffeCompatError as error:
            yield self._at("solver", "error", "solver_type", str(error.problem), "Caffe stops here", error.hint or "")
            return
        yield from self._stops(param)
        if self.raw.HasField("solver_type"):
            problem = f"solver_type is outdated, type: {param.type!r} replaced it"
            hint = f'write type: "{param.type}", or convert the file with caffe-compat upgrade'
            yield self._at("deprecated", "warning", "solver_type", problem, "later forks do not read it", hint)
        yield from self._tests(param)
        yield from self._steps(param)
        yield from self._without_effect(param)
        yield from self._snapshots(param)

    def _stops(self, param: pb.SolverParameter) -> Iterator[Finding]:
        try:
            check_solver(param)
        except CaffeCompatError as error:
            for problem in error.problems:
                field = problem.field or ""
                value = "" if problem.value is None else f" = {problem.value}"
                text = f"{field}{value}: {problem.problem}"
                yield self._at("solver", "error", field, text, "training cannot start", problem.hint or "")

    def _tests(self, param: pb.SolverParameter) -> Iterator[Finding]:
        nets = len(param.test_net) + len(param.test_net_param)
        if param.test_iter and not param.test_interval:
            yield self._at(
                "solver-tests", "error", "test_iter", "test_iter without test_interval",
                "Caffe stops: test nets need an interval", "set test_interval: 500",
            )  # fmt: skip
        if param.test_interval and not param.test_iter:
            level, count = ("error", f" for {nets} test nets") if nets else ("warning", "")
            yield self._at(
                "solver-tests", level, "test_interval", f"test_interval without test_iter{count}",
                "Caffe stops: every test net needs a test_iter" if nets else "no test is run",
                "set test_iter to the number of batches of the test set",
            )  # fmt: skip
        if param.test_interval > param.max_iter > 0 and param.test_iter:
            yield self._at(
                "solver-tests", "note", "test_interval", f"test_interval is larger than max_iter ({param.max_iter})",
                "only the untrained net is tested", "reduce test_interval",
            )  # fmt: skip

    def _steps(self, param: pb.SolverParameter) -> Iterator[Finding]:
        values = list(param.stepvalue)
        if param.lr_policy == "multistep":
            if not values:
                yield self._at(
                    "solver-steps", "warning", "lr_policy", "lr_policy multistep without a stepvalue",
                    "the learning rate never changes", "set stepvalue: 10000 stepvalue: 15000",
                )  # fmt: skip
            if values != sorted(values):
                yield self._at(
                    "solver-steps", "warning", "stepvalue", f"step values are out of order: {values}",
                    "Caffe applies them in this order: a smaller value acts one iteration after the one before",
                    f"sort them: {sorted(values)}",
                )  # fmt: skip
        late = [value for value in values if value >= param.max_iter > 0]
        if param.lr_policy == "step" and param.stepsize >= param.max_iter > 0:
            late = [param.stepsize]
        if late and param.lr_policy in ("multistep", "step"):
            field = "stepvalue" if values else "stepsize"
            yield self._at(
                "solver-steps", "note", field, f"{field} {late[0]} is not smaller than max_iter {param.max_iter}",
                "this step of the learning rate is never reached", "reduce it, or increase max_iter",
            )  # fmt: skip
        if param.lr_policy in ("step", "exp", "multistep", "inv", "sigmoid") and not param.gamma:
            yield self._at(
                "solver-steps", "warning", "lr_policy", f"lr_policy {param.lr_policy} with gamma 0",
                "the learning rate becomes 0 or never changes", "set gamma: 0.1",
            )  # fmt: skip

    def _without_effect(self, param: pb.SolverParameter) -> Iterator[Finding]:
        reads = POLICIES.get(param.lr_policy)
        for field in ("gamma", "power", "stepsize", "stepvalue"):
            given = bool(param.stepvalue) if field == "stepvalue" else param.HasField(field)
            if reads is not None and given and field not in reads:
                hint = f"remove it, or use policy {', '.join(sorted(p for p in POLICIES if field in POLICIES[p]))}"
                problem = f"lr_policy {param.lr_policy!r} does not read {field}"
                yield self._at("ignored-field", "warning", field, problem, "it has no effect", hint)
        for field, types in _READ_BY.items():
            if param.HasField(field) and param.type not in types:
                yield self._at(
                    "ignored-field", "warning", field, f"a solver of type {param.type} does not read {field}",
                    "it has no effect", f"remove it, or use type {' or '.join(sorted(types))}",
                )  # fmt: skip
        if param.HasField("regularization_type") and not param.weight_decay:
            yield self._at(
                "ignored-field", "note", "regularization_type", "regularization_type without weight_decay",
                "it has no effect", "set weight_decay: 0.0005",
            )  # fmt: skip
        for field in ("snapshot_format", "snapshot_diff", "snapshot_prefix"):
            if param.HasField(field) and not param.snapshot and not param.snapshot_after_train:
                yield self._at(
                    "ignored-field", "warning", field, f"{field} is set, but no snapshot is taken",
                    "it has no effect", "set snapshot: 1000, or snapshot_after_train: true",
                )  # fmt: skip

    def _snapshots(self, param: pb.SolverParameter) -> Iterator[Finding]:
        if not param.snapshot and not param.snapshot_after_train:
            yield self._at(
                "solver-snapshots", "warning", "snapshot_after_train", "no snapshot is taken, not even at the end",
                "the trained weights are lost", "set snapshot_after_train: true",
            )  # fmt: skip
        elif not param.snapshot_prefix:
            problem = f"no snapshot_prefix: snapshots are named after the solver, {Path(self.file).stem}_iter_N"
            hint = 'set snapshot_prefix: "run/net"'
            yield self._at("solver-snapshots", "note", "snapshot", problem, "as in Caffe", hint)
        if param.snapshot > param.max_iter > 0 and not param.snapshot_after_train:
            yield self._at(
                "solver-snapshots", "warning", "snapshot", f"snapshot {param.snapshot} is larger than max_iter",
                "no snapshot is taken", "reduce it, or set snapshot_after_train: true",
            )  # fmt: skip
