"""The command line parser. As in gflags, ``-flag value`` equals ``--flag=value``, and flags may precede the command."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Sequence

from caffe_compat.cli.common_flags import BREW, accept_all, add_fork, note_unused

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("train or finetune a model", "train"),
    "test": ("score a model", "score"),
    "time": ("benchmark model execution time", "timing"),
    "device_query": ("show GPU diagnostic information", "device_query"),
    "convert": ("convert weights and nets: caffemodel, HDF5, PyTorch, ONNX, Python source, safetensors", "convert"),
    "lint": ("check nets and solvers for silent mistakes", "lint"),
    "survey": ("list which definitions below a folder are built, and what the others lack", "survey"),
    "diff": ("find the first difference between two nets, weights, logs or runs", "diff"),
    "finetune_report": ("show which blobs of a net a file of weights would fill", "finetune_report"),
    "upgrade": ("upgrade an old net or solver to the current format", "upgrade"),
    "show": ("list the layers, shapes and parameters of a net or weights", "show"),
    "draw": ("draw a net as SVG, PNG, PDF or DOT", "draw"),
    "parse_log": ("turn a training log into tables and a plot", "parse_log"),
    "compute_image_mean": ("compute the mean image of a database", "compute_image_mean"),
    "convert_imageset": ("store a list of images in a database", "convert_imageset"),
    "extract_features": ("store blobs of a net in a database or HDF5 file", "extract_features"),
    "upgrade_net_proto_text": ("upgrade a net prototxt, like Caffe's tool of this name", "upgrade"),
    "upgrade_net_proto_binary": ("upgrade a caffemodel, like Caffe's tool of this name", "upgrade"),
    "upgrade_solver_proto_text": ("upgrade a solver prototxt, like Caffe's tool of this name", "upgrade"),
    "layers": ("list the supported layer types", "layers"),
}
"""Command -> its help text, and the module of this package whose ``define`` adds its flags and ``run`` runs it."""

OUTPUTS: dict[str, tuple[str, ...]] = {
    "train": ("log", "snapshot"),  # a run that is resumed at its end writes the same snapshot again, as Caffe's does
    "convert": ("target",),
    "survey": ("out",),
    "finetune_report": ("output",),
    "upgrade": ("target",),
    "draw": ("output",),
    "parse_log": ("plot",),
    "compute_image_mean": ("output",),
    "convert_imageset": ("database",),
    "extract_features": ("datasets",),
    "upgrade_net_proto_text": ("target",),
    "upgrade_net_proto_binary": ("target",),
    "upgrade_solver_proto_text": ("target",),
}
"""Command -> its arguments that name files to write. The files that others name are read, and never replaced."""

_TRUE, _FALSE = {"true", "t", "1", "yes", "y"}, {"false", "f", "0", "no", "n"}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line (SystemExit after help and wrong usage); ``run`` of the result is the command."""
    args = _command_first([_normalized(word) for word in argv])
    parser = argparse.ArgumentParser(
        prog="caffe-compat", description="Train, test, convert and inspect Caffe nets on PyTorch.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (summary, module) in COMMANDS.items():
        part = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if args and args[0] == name:
            command = importlib.import_module(f"caffe_compat.cli.{module}")
            command.define(part)
            part.set_defaults(run=command.run)
            add_fork(part)
            if name in BREW:
                accept_all(part)
            args = [args[0], *_switches(part, args[1:])]
    namespace = parser.parse_args(args)
    namespace.argv = args
    note_unused(namespace)
    return namespace


def _switches(part: argparse.ArgumentParser, args: Sequence[str]) -> list[str]:
    """Translate gflags' ``--gray=true``, ``--gray=false`` and ``--nogray`` for argparse."""
    switches = {f"--{action.dest}" for action in part._actions if action.nargs == 0 and action.dest != "help"}
    words = []
    for word in args:
        flag, _, value = word.partition("=")
        if flag in switches and value.lower() in _TRUE | _FALSE:
            words += [flag] if value.lower() in _TRUE else []
        elif not (word.startswith("--no") and f"--{word[4:]}" in switches):
            words.append(word)
    return words


def _normalized(word: str) -> str:
    """Spell a flag with two dashes and underscores; return any other word unchanged."""
    flag = re.fullmatch(r"--?([A-Za-z][\w-]+|v)(=.*)?", word, re.DOTALL)
    return f"--{flag[1].replace('-', '_')}{flag[2] or ''}" if flag else word


def _command_first(argv: Sequence[str]) -> list[str]:
    """Move the command before the flags, which gflags allows to precede it."""
    args = list(argv)
    if args and args[0].startswith("-") and args[0].lstrip("-") not in {"h", "help"}:
        for index, word in enumerate(args):
            if word in COMMANDS:
                return [word, *args[:index], *args[index + 1 :]]
    if args and args[0].replace("-", "_") in COMMANDS:
        args[0] = args[0].replace("-", "_")
    return args
