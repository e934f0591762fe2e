"""The flags. As with gflags, one dash or two and ``=`` or a space are the same; flags may stand before the command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any

COMMANDS: dict[str, str] = {
    "train": "train or finetune a model",
    "test": "score a model",
    "convert": "weights from one format to another: caffemodel, HDF5, PyTorch",
    "upgrade": "bring an old net or solver to the current form",
    "show": "list the layers, shapes and parameters of a net or of weights",
    "layers": "list the supported layer types",
}
_EFFECTS = ("stop", "snapshot", "none")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments; ``run`` in them is the command's function.

    Raises
    ------
    SystemExit
        after help (0) or wrong usage (2).
    """
    parser = argparse.ArgumentParser(
        prog="caffe-compat",
        description="Train, test, convert and show Caffe nets on PyTorch.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        part = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        _DEFINE[name](part)
    return parser.parse_args(_command_first([_spelled(word) for word in argv]))


def _spelled(word: str) -> str:
    """Return a flag with two dashes and underscores; any other word as it is."""
    found = re.fullmatch(r"--?([A-Za-z][\w-]+)(=.*)?", word, re.DOTALL)
    return f"--{found[1].replace('-', '_')}{found[2] or ''}" if found else word


def _command_first(argv: Sequence[str]) -> list[str]:
    """Move the command before the flags, where gflags allows it to follow them."""
    args = list(argv)
    if args and args[0].startswith("-") and args[0].lstrip("-") not in {"h", "help"}:
        for place, word in enumerate(args):
            if word in COMMANDS:
                return [word, *args[:place], *args[place + 1 :]]
    return args


def _device(part: argparse.ArgumentParser) -> None:
    part.add_argument("--gpu", metavar="ID", help="run on this CUDA device")
    part.add_argument("--device", metavar="NAME", help="run on this torch device: cpu, cuda, cuda:1")
    part.add_argument(
        "--exact", action="store_true", help="convolutions add up in genuine Caffe's order: its bits, slower"
    )


def _state(part: argparse.ArgumentParser) -> None:
    part.add_argument("--level", type=int, default=0, help="level of the net (default 0)")
    part.add_argument("--stage", default="", metavar="A,B", help="stages of the net")


def _train(part: argparse.ArgumentParser) -> None:
    from caffe_compat.cli.train import train

    part.set_defaults(run=train)
    part.add_argument("--solver", required=True, metavar="FILE", help="solver definition (prototxt)")
    part.add_argument("--weights", metavar="A,B", help="start from these weights (by layer name); not with --snapshot")
    part.add_argument(
        "--snapshot", metavar="FILE", help="go on from this solver state; with its .resume.npz as if never stopped"
    )
    part.add_argument(
        "--restart_data", action="store_true", help="with --snapshot: start the data from the beginning, as Caffe does"
    )
    _device(part)
    _state(part)
    part.add_argument(
        "--sigint_effect", choices=_EFFECTS, default="stop", help="on Ctrl-C (default: stop, with a snapshot)"
    )
    part.add_argument("--sighup_effect", choices=_EFFECTS, default="snapshot", help="on SIGHUP (default: snapshot)")
    part.add_argument("--log", metavar="FILE", help="append the log to this file as well")
    group = part.add_argument_group("in place of what the definitions say")
    for name, metavar, text in (
        ("net", "FILE", "the net to train and test"),
        ("train_source", "FILE", "source of the training net's data layer"),
        ("test_source", "FILE", "source of the test nets' data layer"),
        ("snapshot_prefix", "PREFIX", "path that snapshots begin with"),
        ("set", "TEXT", "any fields of the solver, as in its file: --set='base_lr: 0.001 display: 10'"),
    ):
        group.add_argument(f"--{name}", metavar=metavar, help=text)
    group.add_argument("--max_iter", type=int, metavar="N", help="iterations in all")


def _test(part: argparse.ArgumentParser) -> None:
    from caffe_compat.cli.train import test

    part.set_defaults(run=test)
    part.add_argument("--model", required=True, metavar="FILE", help="net definition (prototxt)")
    part.add_argument("--weights", required=True, metavar="A,B", help="weights to score, by layer name")
    part.add_argument("--iterations", type=_count, default=50, metavar="N", help="batches to run (default 50)")
    part.add_argument("--test_source", metavar="FILE", help="source of the data layer, in place of the definition's")
    _device(part)
    _state(part)


def _convert(part: argparse.ArgumentParser) -> None:
    from caffe_compat.cli.weights import convert

    part.set_defaults(run=convert)
    part.add_argument("source", help="caffemodel, HDF5 weights, or a PyTorch state_dict (.pt, .pth)")
    part.add_argument("target", help="file to write; its name says the format: .caffemodel, .h5, .pt, .pth")
    part.add_argument(
        "--model", metavar="FILE", help="the net (prototxt); needed for PyTorch files and to make a caffemodel"
    )
    _inputs(part)


def _upgrade(part: argparse.ArgumentParser) -> None:
    from caffe_compat.cli.definitions import upgrade

    part.set_defaults(run=upgrade)
    part.add_argument("source", help="net (prototxt or caffemodel) or solver (prototxt)")
    part.add_argument("target", help="file to write, in the form of the source")
    part.add_argument("--kind", choices=("auto", "net", "solver"), default="auto", help="what the source is")


def _show(part: argparse.ArgumentParser) -> None:
    from caffe_compat.cli.definitions import show

    part.set_defaults(run=show)
    part.add_argument("file", help="net definition (prototxt), caffemodel or HDF5 weights")
    part.add_argument("--phase", choices=("TRAIN", "TEST"), default="TEST", help="phase of the net (default TEST)")
    part.add_argument("--json", action="store_true", help="for programs")
    _state(part)
    _inputs(part)


def _layers(part: argparse.ArgumentParser) -> None:
    from caffe_compat.cli.definitions import layers

    part.set_defaults(run=layers)
    form = part.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs")
    form.add_argument("--markdown", action="store_true", help="as the README has it")


def _inputs(part: argparse.ArgumentParser) -> None:
    part.add_argument(
        "--input",
        action="append",
        default=[],
        type=_shape,
        metavar="BLOB=N,C,H,W",
        help="shape of an input, where the definition does not say it",
    )


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.partition("=")
    if not name or not re.fullmatch(r"\d+([,x]\d+)*", sizes):
        raise argparse.ArgumentTypeError(f"{text!r}: give it as data=1,3,224,224")
    return name, tuple(int(size) for size in re.split("[,x]", sizes))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a positive number")
    return int(text)


_DEFINE: dict[str, Callable[[Any], None]] = {
    "train": _train,
    "test": _test,
    "convert": _convert,
    "upgrade": _upgrade,
    "show": _show,
    "layers": _layers,
}
