"""The flags that commands share."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence

import torch

from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import PreparedNet, prepare
from caffe_compat.errors import SolverError
from caffe_compat.solver import CaffeLog

EFFECTS = ("stop", "snapshot", "none")


def add_device(part: argparse.ArgumentParser) -> None:
    """Add ``--gpu``, ``--device`` and ``--exact``."""
    part.add_argument("--gpu", metavar="ID", help="run on this CUDA device; `all` for every device")
    part.add_argument("--device", metavar="NAME", help="run on this torch device: cpu, cuda, cuda:1")
    part.add_argument(
        "--exact",
        action="store_true",
        help="sum convolutions and inner products in Caffe's order: identical bits, but slower",
    )


def add_state(part: argparse.ArgumentParser) -> None:
    """Add ``--level`` and ``--stage``."""
    part.add_argument("--level", type=int, default=0, help="level of the net state (default 0)")
    part.add_argument("--stage", default="", metavar="A,B", help="stages, in addition to those in the net's own state")


def add_signals(part: argparse.ArgumentParser) -> None:
    """Add ``--sigint_effect`` and ``--sighup_effect``."""
    part.add_argument(
        "--sigint_effect", choices=EFFECTS, default="stop", help="action on Ctrl-C (default: stop, with a snapshot)"
    )
    part.add_argument(
        "--sighup_effect", choices=EFFECTS, default="snapshot", help="action on SIGHUP (default: snapshot)"
    )


def add_inputs(part: argparse.ArgumentParser) -> None:
    """Add ``--input``."""
    part.add_argument(
        "--input",
        action="append",
        default=[],
        type=shape,
        metavar="BLOB=N,C,H,W",
        help="shape of an input that the definition does not state",
    )


def add_adapting(part: argparse.ArgumentParser) -> None:
    """Add ``--rename`` and ``--reshape``."""
    part.add_argument(
        "--rename",
        action="append",
        default=[],
        type=renaming,
        metavar="OLD=NEW",
        help="copy the file's layer OLD to the net's layer NEW; OLD= skips it",
    )
    part.add_argument(
        "--reshape",
        nargs="?",
        const="",
        metavar="A,B",
        help="reshape blobs of equal size but different shape; in these layers of the net, or in all",
    )


def reshaping(text: str | None) -> bool | list[str]:
    """Return the argument of :func:`caffe_compat.copy_weights` that ``--reshape`` selects."""
    return text is not None and ([name for name in text.split(",") if name] or True)


def add_json(part: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    part.add_argument("--json", action="store_true", help="write JSON to stdout")


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Parse ``data=1,3,224,224``."""
    name, _, sizes = text.partition("=")
    if not name or not re.fullmatch(r"\d+([,x]\d+)*", sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form data=1,3,224,224")
    return name, tuple(int(size) for size in re.split("[,x]", sizes))


def renaming(text: str) -> tuple[str, str]:
    """Parse ``OLD=NEW``."""
    old, sign, new = text.partition("=")
    if not (old and sign):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form OLD=NEW")
    return old, new


def count(text: str) -> int:
    """Parse a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def stages(args: argparse.Namespace) -> list[str]:
    """Return the stages that ``--stage`` lists."""
    return [stage for stage in args.stage.split(",") if stage]


def prepared(model: str, args: argparse.Namespace) -> PreparedNet:
    """Return a definition prepared in the state and for the forks that the flags name."""
    return prepare(model, net_state(args.phase, stages=stages(args), level=args.level), fork=args.fork)


def chosen_gpus(text: str) -> list[int]:
    """Return the CUDA devices that ``--gpu`` names."""
    count = torch.cuda.device_count()
    if text == "all":
        return list(range(count))
    names = text.split(",")
    if not all(name.isdecimal() for name in names):
        hint = "use 0, 0,1 or all"
        raise SolverError("not a list of device numbers", code="invalid", field="--gpu", value=text, hint=hint)
    gpus = [int(name) for name in names]
    if max(gpus) >= count:
        raise no_device(count, "--gpu", text)
    return gpus


def no_device(count: int, field: str, device: object, hint: str = "use --device=cpu") -> SolverError:
    """Return the error about a CUDA device that does not exist, where there are `count`."""
    problem = f"device does not exist: found {count} CUDA device{'' if count == 1 else 's'}"
    return SolverError(problem, code="name-unknown", field=field, value=device, hint=hint)


def chosen_device(args: argparse.Namespace, *, several: bool = False) -> torch.device | None:
    """Return the device that the flags name, or None; with `several`, the first of a list, as Caffe does."""
    if args.device:
        return _named(args.device)
    if not args.gpu:
        return None
    gpus = chosen_gpus(args.gpu)
    if not gpus:
        raise no_device(0, "--gpu", args.gpu)
    if len(gpus) > 1 and not several:
        hint = "use `torchrun --nproc-per-node=N -m caffe_compat train --device=cuda ...`"
        raise SolverError("a process drives one device", code="wrong-count", field="--gpu", value=args.gpu, hint=hint)
    return torch.device("cuda", gpus[0])


def _named(name: str) -> torch.device:
    try:
        device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" else name)
    except RuntimeError:
        hint = "use cpu, cuda or cuda:1"
        raise SolverError("unknown device", code="name-unknown", field="--device", value=name, hint=hint) from None
    if device.type not in {"cpu", "cuda"}:
        hint = "use cpu, cuda or cuda:1"
        raise SolverError("device is not supported", code="unsupported", field="--device", value=name, hint=hint)
    if device.type == "cuda" and torch.cuda.device_count() <= (device.index or 0):
        raise no_device(torch.cuda.device_count(), "--device", name)
    return device


def scoring_device(args: argparse.Namespace, log: CaffeLog, lines: Sequence[int]) -> torch.device:
    """Return the device to test or time on, and log it; `lines` are those of caffe.cpp: GPU number, GPU name, CPU."""
    device = chosen_device(args, several=True) or torch.device("cpu")
    if device.type == "cpu":
        log.line(f"caffe.cpp:{lines[2]}", "Use CPU.")
    else:
        log.line(f"caffe.cpp:{lines[0]}", f"Use GPU with device ID {device.index or 0}")
        log.line(f"caffe.cpp:{lines[1]}", f"GPU device name: {torch.cuda.get_device_name(device)}")
    return device
