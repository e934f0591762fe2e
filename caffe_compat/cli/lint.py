"""``lint``: check nets and solvers for silent mistakes."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from dataclasses import asdict

from caffe_compat.cli.flags import add_inputs, add_json, add_state, stages
from caffe_compat.cli.table import write_table
from caffe_compat.errors import FileError, did_you_mean
from caffe_compat.formats.kinds import is_solver, looks_like_text
from caffe_compat.tools.lint import LEVELS, RULES, Finding, lint_net, lint_solver


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("files", nargs="*", metavar="FILE", help="nets and solvers (prototxt)")
    part.add_argument("--weights", metavar="A,B", help="check these weights against each net")
    part.add_argument("--phase", choices=("TRAIN", "TEST"), help="check this phase only")
    part.add_argument("--ignore", default="", metavar="RULE,RULE", help="rules to skip")
    part.add_argument("--strict", action="store_true", help="exit code 1 for warnings as well as for errors")
    part.add_argument("--quiet", action="store_true", help="hide notes")
    part.add_argument("--rules", action="store_true", help="list the rules and exit")
    add_json(part)
    add_state(part)
    add_inputs(part)


def run(args: Namespace) -> int:
    """Check files; return 1 if there are errors or, with ``--strict``, warnings."""
    if args.rules:
        write_table([("rule", "about"), *RULES.items()])
        return 0
    if not args.files:
        raise FileError("no file given", code="field-missing", field="FILE", hint="run `caffe-compat lint FILE`")
    ignored = [rule for rule in args.ignore.split(",") if rule]
    for rule in ignored:
        if rule not in RULES:
            hint = did_you_mean(rule, RULES) or "--rules lists them"
            raise FileError("unknown rule", code="name-unknown", field="--ignore", value=rule, hint=hint)
    findings = [
        finding
        for file in args.files
        for finding in _check(file, args)
        if finding.rule not in ignored and not (args.quiet and finding.level == "note")
    ]
    counts = Counter(finding.level for finding in findings)
    if args.json:
        sys.stdout.write(json.dumps({"findings": [asdict(finding) for finding in findings], **_counts(counts)}) + "\n")
    else:
        for finding in findings:
            sys.stdout.write(f"{finding}\n")
        sys.stdout.write(", ".join(f"{number} {level}s" for level, number in _counts(counts).items()) + "\n")
    return int(counts["error"] > 0 or (args.strict and counts["warning"] > 0))


def _counts(counts: Counter[str]) -> dict[str, int]:
    return {level: counts[level] for level in LEVELS}


def _check(file: str, args: Namespace) -> list[Finding]:
    if not looks_like_text(file):
        hint = "check weights with --weights=FILE"
        raise FileError("is a binary file, expected a prototxt", code="wrong-format", file=file, hint=hint)
    if is_solver(file):
        return lint_solver(file, fork=args.fork)
    return lint_net(
        file,
        weights=[name.strip() for name in args.weights.split(",")] if args.weights else (),
        phases=(args.phase,) if args.phase else (),
        stages=stages(args),
        level=args.level,
        input_shapes=dict(args.input),
        fork=args.fork,
    )
