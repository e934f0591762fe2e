"""The commands. As with gflags, one dash or two, ``=`` or a space are the same; flags may stand before the command."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Sequence

from caffe_compat.cli.common_flags import BREW, accept_all, note_unused
from caffe_compat.cli.fork import add_fork

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("train or finetune a model", "train"),
    "test": ("score a model", "score"),
    "time": ("benchmark model execution time", "timing"),
    "device_query": ("show GPU diagnostic information", "device_query"),
    "convert": ("weights from one format to another: caffemodel, HDF5, PyTorch", "convert"),
    "lint": ("check nets and solvers for what goes wrong without a word", "lint"),
    "diff": ("name the first thing in which two nets, weights, logs or runs differ", "diff"),
    "finetune_report": ("what weights give to a net: copied, skipped, mismatched", "finetune_report"),
    "upgrade": ("bring an old net or solver to the current form", "upgrade"),
    "show": ("list the layers, shapes and parameters of a net or of weights", "show"),
    "draw": ("draw a net: SVG, PNG, PDF, DOT", "draw"),
    "parse_log": ("a training log as tables and a picture", "parse_log"),
    "compute_image_mean": ("the mean picture of a database", "compute_image_mean"),
    "convert_imageset": ("a list of pictures to a database", "convert_imageset"),
    "extract_features": ("blobs of a net on its data, to a database or HDF5", "extract_features"),
    "upgrade_net_proto_text": ("upgrade a net's text, as Caffe's tool of this name", "upgrade"),
    "upgrade_net_proto_binary": ("upgrade a caffemodel, as Caffe's tool of this name", "upgrade"),
    "upgrade_solver_proto_text": ("upgrade a solver's text, as Caffe's tool of this name", "upgrade"),
    "layers": ("list the supported layer types", "layers"),
}
"""Command -> what it does, and the module of this package whose ``define`` adds its flags and names its function."""


_TRUE, _FALSE = {"true", "t", "1", "yes", "y"}, {"false", "f", "0", "no", "n"}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments; ``run`` in them is the command's function.

    Raises
    ------
    SystemExit
        after help (0) or wrong usage (2).
    """
    args = _command_first([_spelled(word) for word in argv])
    parser = argparse.ArgumentParser(
        prog="caffe-compat",
        description="Train, test, convert and show Caffe nets on PyTorch.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (summary, module) in COMMANDS.items():
        part = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if args and args[0] == name:
            importlib.import_module(f"caffe_compat.cli.{module}").define(part)
            add_fork(part)
            if name in BREW:
                accept_all(part)
            args = [args[0], *_switches(part, args[1:])]
    found = parser.parse_args(args)
    found.argv = args
    note_unused(found)
    return found


def _switches(part: argparse.ArgumentParser, args: Sequence[str]) -> list[str]:
    """Spell gflags' ``--gray=true``, ``--gray=false`` and ``--nogray`` as argparse has them."""
    known = {f"--{action.dest}" for action in part._actions if action.nargs == 0 and action.dest != "help"}
    found = []
    for word in args:
        flag, _, value = word.partition("=")
        if flag in known and value.lower() in _TRUE | _FALSE:
            found += [flag] if value.lower() in _TRUE else []
        elif not (word.startswith("--no") and f"--{word[4:]}" in known):
            found.append(word)
    return found


def _spelled(word: str) -> str:
    """Return a flag with two dashes and underscores; any other word as it is."""
    flag = re.fullmatch(r"--?([A-Za-z][\w-]+|v)(=.*)?", word, re.DOTALL)
    return f"--{flag[1].replace('-', '_')}{flag[2] or ''}" if flag else word


def _command_first(argv: Sequence[str]) -> list[str]:
    """Move the command before the flags, where gflags allows it to follow them."""
    args = list(argv)
    if args and args[0].startswith("-") and args[0].lstrip("-") not in {"h", "help"}:
        for place, word in enumerate(args):
            if word in COMMANDS:
                return [word, *args[:place], *args[place + 1 :]]
    if args and args[0].replace("-", "_") in COMMANDS:
        args[0] = args[0].replace("-", "_")
    return args
