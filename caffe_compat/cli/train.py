"""``train``: train or finetune a model, as tools/caffe.cpp of BVLC Caffe 9b89154 does."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
from pathlib import Path

import torch

from caffe_compat.build.weights import copy_weights
from caffe_compat.cli.common_flags import opened_log
from caffe_compat.cli.finetune_report import rows, summary
from caffe_compat.cli.flags import (
    add_adapting,
    add_device,
    add_signals,
    add_state,
    chosen_device,
    chosen_gpus,
    reshaping,
)
from caffe_compat.cli.multi_gpu import train_on
from caffe_compat.definition.upgrade import upgrade_snapshot_prefix, upgrade_solver
from caffe_compat.errors import SolverError
from caffe_compat.formats.blobs import SIZE_LIMIT
from caffe_compat.formats.files import parse_text, read_solver, unknown_fields
from caffe_compat.formats.kinds import is_solver
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Action, CaffeLog, SignalActions, Solver, launched
from caffe_compat.solver.snapshot import snapshot_path
from caffe_compat_base.input_files import CONFLICT


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("--solver", required=True, metavar="FILE", help="solver definition (prototxt)")
    part.add_argument("--weights", metavar="A,B", help="initial weights, matched by layer name; not with --snapshot")
    part.add_argument(
        "--snapshot", metavar="FILE", help="resume from this solver state, exactly if its .resume.npz is next to it"
    )
    part.add_argument(
        "--restart_data", action="store_true", help="with --snapshot: read the data from the start, as Caffe does"
    )
    add_adapting(part)
    part.add_argument(
        "--skip_mismatched",
        action="store_true",
        help="skip layers of --weights whose shapes do not match, instead of failing",
    )
    part.add_argument("--report", action="store_true", help="log a report on each blob of --weights")
    add_device(part)
    add_state(part)
    add_signals(part)
    part.add_argument("--log", metavar="FILE", help="also append the log to this file")
    group = part.add_argument_group("overriding the solver definition")
    for name, metavar, text in (
        ("net", "FILE", "net to train and test"),
        ("train_source", "FILE", "source of the training net's data layer"),
        ("test_source", "FILE", "source of the test nets' data layer"),
        ("snapshot_prefix", "PREFIX", "path prefix of snapshots"),
        ("set", "TEXT", "any solver fields, in prototxt syntax: --set='base_lr: 0.001 display: 10'"),
    ):
        group.add_argument(f"--{name}", metavar=metavar, help=text)
    group.add_argument("--max_iter", type=int, metavar="N", help="total number of iterations")


def run(args: Namespace) -> int:
    """Train or finetune a model."""
    if args.gpu and not args.device and "WORLD_SIZE" not in os.environ:
        gpus = chosen_gpus(args.gpu)
        if len(gpus) > 1:
            return train_on(gpus, args.argv)
    if args.snapshot and args.weights:
        hint = "use --snapshot to resume training or --weights to finetune"
        raise SolverError(
            "conflicts with --weights", code="conflict", field="--snapshot", value=args.snapshot, hint=hint
        )
    param = _solver(args)
    _require_other_snapshots(param, args.weights)
    with ExitStack() as stack:
        log = stack.enter_context(opened_log(args, args.log))
        device = _device(args, param, log)
        workers = stack.enter_context(launched(device))
        signals = SignalActions(Action(args.sigint_effect), Action(args.sighup_effect))
        action = stack.enter_context(signals)
        sources = {"TRAIN": args.train_source, "TEST": args.test_source}
        solver = stack.enter_context(
            Solver(
                param,
                base_dir=Path(args.solver).parent,
                device=device,
                log=log,
                sources={phase: source for phase, source in sources.items() if source},
                action=action,
                exact=args.exact,
                workers=workers,
                fork=args.fork,
            )
        )
        _check_size(solver)
        if _adapts(args):
            _finetune(solver, args, log)
        if args.snapshot:
            log.line("caffe.cpp:235", f"Resuming from {args.snapshot}")
            solver.restore(args.snapshot, restart_data=args.restart_data)
        log.line("caffe.cpp:239", "Starting Optimization")
        solver.solve()
        log.line("caffe.cpp:250", "Optimization Done.")
    return 0


def _check_size(solver: Solver) -> None:
    """Refuse, before the first iteration, a net whose snapshots exceed protobuf's size limit."""
    size = 4 * solver.net.caffe.parameter_count()
    snapshots = solver.param.snapshot or solver.param.snapshot_after_train
    if snapshots and size > SIZE_LIMIT and solver.param.snapshot_format == pb.SolverParameter.BINARYPROTO:
        problem = f"a snapshot would have {size} bytes, protobuf's limit is {SIZE_LIMIT}"
        hint = "set snapshot_format: HDF5"
        raise SolverError(problem, code="too-large", field="snapshot_format", value="BINARYPROTO", hint=hint)


def _adapts(args: Namespace) -> bool:
    """Tell whether flags change Caffe's way of copying, or select a report."""
    return bool(args.weights and (args.rename or args.reshape is not None or args.skip_mismatched or args.report))


def _finetune(solver: Solver, args: Namespace, log: CaffeLog) -> None:
    """Copy weights as the flags ask."""
    for name in args.weights.split(","):
        for net in (solver.net, *solver.test_nets):
            log.line("solver.cpp:72", f"Finetuning from {name}")
            report = copy_weights(
                net,
                name.strip(),
                rename=dict(args.rename),
                reshape=reshaping(args.reshape),
                mismatched="skip" if args.skip_mismatched else "refuse",
                unrelated="refuse" if net is solver.net else "take",
            )
            log.copied(report, name.strip())
            if net is solver.net:
                lines = [f"{key} {shape}: {what}" for key, shape, what in rows(net, report)] if args.report else []
                for line in [*lines, summary(net, report)]:
                    log.line("net.cpp:746", line)


def _solver(args: Namespace) -> pb.SolverParameter:
    """Read the solver definition and apply the command line's overrides."""
    param = upgrade_solver(read_solver(args.solver))
    if unknown_fields(param) and not is_solver(args.solver):
        raise SolverError("is a net, expected a solver", code="wrong-format", file=args.solver)
    if args.set:
        overrides = parse_text(args.set, pb.SolverParameter, file="--set")
        for field, _ in overrides.ListFields():
            param.ClearField(field.name)
        param.MergeFrom(overrides)
    if args.net:
        for name in ("net_param", "train_net", "train_net_param"):
            param.ClearField(name)
        param.net = args.net
    if args.max_iter is not None:
        param.max_iter = args.max_iter
    if args.snapshot_prefix:
        param.snapshot_prefix = args.snapshot_prefix
    param.train_state.level = args.level
    param.train_state.stage.extend(args.stage.split(","))  # like Caffe, an empty list becomes one empty name
    if args.snapshot or args.weights:
        param.ClearField("weights")
    if args.weights and not _adapts(args):
        param.weights.append(args.weights)
    return upgrade_snapshot_prefix(param, args.solver)


def _require_other_snapshots(param: pb.SolverParameter, weights: str | None) -> None:
    """Refuse initial weights that a snapshot would replace, before the work is done."""
    first = snapshot_path(param, 0, "")
    name = re.compile(re.escape(first.name[:-1]) + r"(\d+)\.caffemodel(\.h5)?")
    for path in map(Path, (weights or "").split(",")):
        number = name.fullmatch(path.name)
        if not number or not path.exists() or path.resolve().parent != first.parent.resolve():
            continue
        iteration = int(number[1])
        between = iteration < param.max_iter and param.snapshot and iteration % param.snapshot == 0
        if between or iteration == param.max_iter:
            hint = "pass another --snapshot_prefix"
            raise SolverError(f"a snapshot {CONFLICT}", code="conflict", file=path, field="--weights", hint=hint)


def _device(args: Namespace, param: pb.SolverParameter | None, log: CaffeLog) -> torch.device:
    """Return the device that the flags select, else the solver's if it exists, else the CPU."""
    device = chosen_device(args)
    if device is None and param is not None and param.solver_mode == pb.SolverParameter.GPU:
        if torch.cuda.device_count() > param.device_id:
            device = torch.device("cuda", param.device_id)
        elif param.HasField("solver_mode"):
            log.line("caffe.cpp:197", f"solver_mode is GPU and CUDA device {param.device_id} is not there.")
    device = device or torch.device("cpu")
    if device.type == "cpu":
        log.line("caffe.cpp:197", "Use CPU.")
    else:
        log.line("caffe.cpp:204", f"Using GPUs {device.index or 0}")
        name = torch.cuda.get_device_name(device)
        log.line("caffe.cpp:209", f"GPU {device.index or 0}: {name}")
    return device
