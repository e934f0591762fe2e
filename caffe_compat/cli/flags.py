"""Flags that several commands share."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence

import torch

from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import PreparedNet, prepare
from caffe_compat.errors import SolverError
from caffe_compat.solver import Log

EFFECTS = ("stop", "snapshot", "none")


def add_device(part: argparse.ArgumentParser) -> None:
    """Add ``--gpu``, ``--device`` and ``--exact``."""
    part.add_argument("--gpu", metavar="ID", help="run on this CUDA device; `all` for every one there is")
    part.add_argument("--device", metavar="NAME", help="run on this torch device: cpu, cuda, cuda:1")
    part.add_argument(
        "--exact",
        action="store_true",
        help="convolutions and inner products add up in genuine Caffe's order: its bits, slower",
    )


def add_state(part: argparse.ArgumentParser) -> None:
    """Add ``--level`` and ``--stage``."""
    part.add_argument("--level", type=int, default=0, help="level of the net (default 0)")
    part.add_argument("--stage", default="", metavar="A,B", help="stages of the net")


def add_signals(part: argparse.ArgumentParser) -> None:
    """Add ``--sigint_effect`` and ``--sighup_effect``."""
    part.add_argument(
        "--sigint_effect", choices=EFFECTS, default="stop", help="on Ctrl-C (default: stop, with a snapshot)"
    )
    part.add_argument("--sighup_effect", choices=EFFECTS, default="snapshot", help="on SIGHUP (default: snapshot)")


def add_inputs(part: argparse.ArgumentParser) -> None:
    """Add ``--input``."""
    part.add_argument(
        "--input",
        action="append",
        default=[],
        type=shape,
        metavar="BLOB=N,C,H,W",
        help="shape of an input, where the definition does not say it",
    )


def add_adapting(part: argparse.ArgumentParser) -> None:
    """Add ``--rename`` and ``--reshape``."""
    part.add_argument(
        "--rename",
        action="append",
        default=[],
        type=renaming,
        metavar="OLD=NEW",
        help="take the file's layer OLD for the net's layer NEW; OLD= leaves it out",
    )
    part.add_argument(
        "--reshape",
        nargs="?",
        const="",
        metavar="A,B",
        help="take blobs of another shape and the same count; for these layers of the net, or for all",
    )


def reshaping(text: str | None) -> bool | list[str]:
    """Return what ``--reshape`` says, for :func:`caffe_compat.copy_weights`."""
    return text is not None and ([name for name in text.split(",") if name] or True)


def add_json(part: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    part.add_argument("--json", action="store_true", help="for programs")


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Parse ``data=1,3,224,224``."""
    name, _, sizes = text.partition("=")
    if not name or not re.fullmatch(r"\d+([,x]\d+)*", sizes):
        raise argparse.ArgumentTypeError(f"{text!r}: give it as data=1,3,224,224")
    return name, tuple(int(size) for size in re.split("[,x]", sizes))


def renaming(text: str) -> tuple[str, str]:
    """Parse ``OLD=NEW``."""
    old, sign, new = text.partition("=")
    if not (old and sign):
        raise argparse.ArgumentTypeError(f"{text!r}: give it as OLD=NEW")
    return old, new


def count(text: str) -> int:
    """Parse a number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a positive number")
    return int(text)


def stages(args: argparse.Namespace) -> list[str]:
    """Return the stages asked for."""
    return [stage for stage in args.stage.split(",") if stage]


def prepared(model: str, args: argparse.Namespace) -> PreparedNet:
    """Return a definition prepared in the state and for the forks that the flags name."""
    return prepare(model, net_state(args.phase, stages=stages(args), level=args.level), fork=args.fork)


def chosen_gpus(text: str) -> list[int]:
    """Return the CUDA devices that ``--gpu`` names.

    Raises
    ------
    SolverError
        for what is no list of numbers, or a device that is not there.
    """
    count = torch.cuda.device_count()
    if text == "all":
        return list(range(count))
    names = text.split(",")
    if not all(name.isdecimal() for name in names):
        raise SolverError("is no list of device numbers", field="--gpu", value=text, hint="0, or 0,1, or all")
    found = [int(name) for name in names]
    if max(found) >= count:
        raise SolverError(f"there are {count} CUDA devices here", field="--gpu", value=text, hint="--device=cpu")
    return found


def chosen_device(args: argparse.Namespace, *, several: bool = False) -> torch.device | None:
    """Return the device that the flags name, or None.

    Parameters
    ----------
    several : of several the first is taken, as ``caffe test`` and ``caffe time`` do; else they are refused.
    """
    if args.device:
        return _named(args.device)
    if not args.gpu:
        return None
    gpus = chosen_gpus(args.gpu)
    if not gpus:
        raise SolverError("there are 0 CUDA devices here", field="--gpu", value=args.gpu, hint="--device=cpu")
    if len(gpus) > 1 and not several:
        hint = "one process drives one device: torchrun --nproc-per-node=N -m caffe_compat train --device=cuda ..."
        raise SolverError("give one device number", field="--gpu", value=args.gpu, hint=hint)
    return torch.device("cuda", gpus[0])


def _named(name: str) -> torch.device:
    try:
        device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" else name)
    except RuntimeError:
        raise SolverError("no such device", field="--device", value=name, hint="cpu, cuda, cuda:1") from None
    if device.type not in {"cpu", "cuda"}:
        raise SolverError("is not supported", field="--device", value=name, hint="cpu, cuda, cuda:1")
    if device.type == "cuda" and torch.cuda.device_count() <= (device.index or 0):
        count = torch.cuda.device_count()
        raise SolverError(f"there are {count} CUDA devices here", field="--device", value=name, hint="--device=cpu")
    return device


def scoring_device(args: argparse.Namespace, log: Log, lines: Sequence[int]) -> torch.device:
    """Return the device to test or time on, logged as Caffe's binary does.

    Parameters
    ----------
    lines : of caffe.cpp, where it says: GPU number, GPU name, CPU.
    """
    device = chosen_device(args, several=True) or torch.device("cpu")
    if device.type == "cpu":
        log.line(f"caffe.cpp:{lines[2]}", "Use CPU.")
    else:
        log.line(f"caffe.cpp:{lines[0]}", f"Use GPU with device ID {device.index or 0}")
        log.line(f"caffe.cpp:{lines[1]}", f"GPU device name: {torch.cuda.get_device_name(device)}")
    return device
