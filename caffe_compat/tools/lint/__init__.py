"""Check nets and solvers for silent mistakes: what Caffe accepts and gets wrong, or what goes wrong later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path

from caffe_compat.data.source import find_input
from caffe_compat.definition.forks import fork_names
from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.files import read_net, read_solver
from caffe_compat.graph.graph import InputShapes
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.tools.lint import building, fields, inplace, training, unused
from caffe_compat.tools.lint.rules import LEVELS, RULES, Finding, field_lines
from caffe_compat.tools.lint.solvers import SolverRules
from caffe_compat.tools.lint.target import Subject, build_states, is_deploy

__all__ = ["LEVELS", "RULES", "Finding", "lint_net", "lint_solver"]

_CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    building.building,
    fields.forked,
    fields.deprecated,
    fields.ignored,
    building.pooling,
    inplace.in_place,
    unused.unused_tops,
    unused.never_built,
    unused.no_gradient,
    unused.duplicate_names,
    training.losses,
    training.batch_norm,
    training.dropout,
    training.data,
)


def lint_net(
    path: str | PathLike[str],
    *,
    weights: Sequence[str | PathLike[str]] = (),
    phases: Sequence[str] = (),
    stages: Sequence[str] = (),
    level: int = 0,
    input_shapes: InputShapes | None = None,
    fork: str | Sequence[str] | None = None,
) -> list[Finding]:
    """Check a net, and weights against it, in these phases: by default both, or only TEST for a deploy definition."""
    file = fspath(path)
    try:
        raw = read_net(path)
        net = upgrade_net(raw)
    except CaffeCompatError as error:
        return [_unreadable(error, file)]
    lines = field_lines(Path(path).read_text(encoding="utf-8", errors="surrogateescape"), file)
    subject = Subject(file, raw, net, lines, Path(path).parent, fork_names(fork))
    phases = phases or (("TEST",) if is_deploy(net) else ("TRAIN", "TEST"))
    build_states(subject, phases=phases, stages=stages, level=level, input_shapes=input_shapes or {})
    findings = [finding for check in _CHECKS for finding in check(subject)]
    if not weights:
        findings += training.zero_weights(subject)
    for weights_file in weights:
        findings += building.weights(subject, weights_file, Path(weights_file).name)
    return _merged(findings, phases)


def lint_solver(
    path: str | PathLike[str], *, nets: bool = True, fork: str | Sequence[str] | None = None
) -> list[Finding]:
    """Check a solver, and, with `nets`, those of its nets that are there; `fork` as for :func:`lint_net`."""
    file = fspath(path)
    try:
        raw = read_solver(path)
    except CaffeCompatError as error:
        return [_unreadable(error, file)]
    lines = field_lines(Path(path).read_text(encoding="utf-8", errors="surrogateescape"), file)
    findings = _merged(SolverRules(raw, file, lines).findings(), ())
    for name, line in _nets(raw, lines):
        net_file = find_input(name, Path(path).parent)
        if net_file is None or not net_file.is_file():
            text = (
                f"net {name!r} does not exist",
                "it was not checked",
                "caffe-compat train --net=FILE trains another net",
            )
            findings.append(Finding("no-data", "note", *text, file=file, line=line))
        elif nets:
            findings += lint_net(net_file, fork=fork)
    return findings


def _nets(raw: pb.SolverParameter, lines: dict[tuple[int, str], int]) -> list[tuple[str, int]]:
    named = [("net", raw.net), ("train_net", raw.train_net), *(("test_net", name) for name in raw.test_net)]
    return list({name: (name, lines.get((0, field), 0)) for field, name in named if name}.values())


def _unreadable(error: CaffeCompatError, file: str) -> Finding:
    problem = f"{error.field}: {error.problem}" if error.field else error.problem
    file, line, layer = error.file or file, error.line or 0, error.layer or ""
    return Finding("parse", "error", problem, "", error.hint or "", file, line, layer)


def _merged(findings: Iterable[Finding], phases: Sequence[str]) -> list[Finding]:
    """Order findings by line; merge those of all phases into one without a phase."""
    phases_of: dict[Finding, list[str]] = {}
    for finding in findings:
        phases_of.setdefault(finding, []).append(finding.phase)
    merged = []
    for finding, finding_phases in phases_of.items():
        in_all = not finding.phase or set(finding_phases) == set(phases)
        text = (finding.rule, finding.level, finding.problem, finding.why, finding.hint)
        merged.append(Finding(*text, finding.file, finding.line, finding.layer, "" if in_all else finding.phase))
    return sorted(merged, key=lambda f: (f.line, LEVELS.index(f.level)))
