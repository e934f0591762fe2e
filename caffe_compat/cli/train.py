"""``train`` and ``test``, as tools/caffe.cpp of BVLC Caffe 9b89154 runs them."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

import torch

from caffe_compat.cli.definitions import is_solver
from caffe_compat.data import CRand
from caffe_compat.errors import SolverError
from caffe_compat.files import forks, parse_text, read_net, read_solver
from caffe_compat.memory import keep_freed_memory
from caffe_compat.proto import caffe_pb2 as pb
from caffe_compat.solver import Action, Log, SignalActions, Solver, launched
from caffe_compat.solver.log import named, number
from caffe_compat.solver.nets import FedNet, definition, redirect
from caffe_compat.solver.testing import mean_scores
from caffe_compat.upgrade import upgrade_snapshot_prefix, upgrade_solver
from caffe_compat.weights import copy_weights


def train(args: Namespace) -> int:
    """Train or finetune a model."""
    if args.snapshot and args.weights:
        raise SolverError("give a snapshot to resume training or weights to finetune, but not both")
    param = _solver(args)
    with ExitStack() as stack:
        streams = [sys.stderr]
        if args.log:
            streams.append(stack.enter_context(Path(args.log).open("a", encoding="utf-8")))
        log = Log(*(streams if os.environ.get("RANK", "0") == "0" else ()))  # torchrun's first process speaks for all
        device = _device(args, param, log)
        workers = stack.enter_context(launched(device))
        signals = SignalActions(Action(args.sigint_effect), Action(args.sighup_effect))
        action = stack.enter_context(signals)
        given = {"TRAIN": args.train_source, "TEST": args.test_source}
        solver = Solver(
            param,
            base_dir=Path(args.solver).parent,
            device=device,
            log=log,
            sources={phase: source for phase, source in given.items() if source},
            action=action,
            exact=args.exact,
            workers=workers,
        )
        if args.snapshot:
            log.line("caffe.cpp:235", f"Resuming from {args.snapshot}")
            solver.restore(args.snapshot, restart_data=args.restart_data)
        log.line("caffe.cpp:239", "Starting Optimization")
        solver.solve()
        log.line("caffe.cpp:250", "Optimization Done.")
    return 0


def _solver(args: Namespace) -> pb.SolverParameter:
    """Return the definition with what the command line says in its place."""
    param = upgrade_solver(read_solver(args.solver))
    if forks(param) and not is_solver(args.solver):
        raise SolverError("this is a net; a solver is expected", file=args.solver)
    if args.set:
        given = parse_text(args.set, pb.SolverParameter, file="--set")
        for field, _ in given.ListFields():
            param.ClearField(field.name)
        param.MergeFrom(given)
    if args.net:
        for name in ("net_param", "train_net", "train_net_param"):
            param.ClearField(name)
        param.net = args.net
    if args.max_iter is not None:
        param.max_iter = args.max_iter
    if args.snapshot_prefix:
        param.snapshot_prefix = args.snapshot_prefix
    param.train_state.level = args.level
    param.train_state.stage.extend(_stages(args))
    if args.snapshot or args.weights:
        param.ClearField("weights")
    if args.weights:
        param.weights.append(args.weights)
    return upgrade_snapshot_prefix(param, args.solver)


def _stages(args: Namespace) -> list[str]:
    return [stage for stage in args.stage.split(",") if stage]


def _device(args: Namespace, param: pb.SolverParameter | None, log: Log) -> torch.device:
    """Return the device the flags ask for, else the one the solver asks for where it is there."""
    device = _chosen(args)
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


def _chosen(args: Namespace) -> torch.device | None:
    name = args.device or (f"cuda:{args.gpu}" if args.gpu else None)
    if name is None:
        return None
    flag = "device" if args.device else "gpu"
    value = args.device or args.gpu
    if args.gpu and not args.device and not args.gpu.isdecimal():
        hint = "one process drives one device: torchrun --nproc-per-node=N -m caffe_compat train --device=cuda ..."
        raise SolverError("give one device number", field="--gpu", value=value, hint=hint)
    try:
        device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" else name)
    except RuntimeError:
        raise SolverError("no such device", field=f"--{flag}", value=value, hint="cpu, cuda, cuda:1") from None
    if device.type not in {"cpu", "cuda"}:
        raise SolverError("is not supported", field=f"--{flag}", value=value, hint="cpu, cuda, cuda:1")
    if device.type == "cuda" and torch.cuda.device_count() <= (device.index or 0):
        count = torch.cuda.device_count()
        raise SolverError(f"there are {count} CUDA devices here", field=f"--{flag}", value=value, hint="--device=cpu")
    return device


def test(args: Namespace) -> int:
    """Score a model."""
    log = Log(sys.stderr)
    device = _device(args, None, log)
    state = pb.NetState(level=args.level, stage=_stages(args))
    wanted = definition(read_net(args.model), "TEST", state, Path(args.model).parent)
    if args.test_source:
        wanted = redirect(wanted, args.test_source)
    if device.type == "cpu":
        keep_freed_memory()
    tested = FedNet(wanted, rng=CRand(), seed=None, device=device, exact=args.exact)
    for name in args.weights.split(","):
        copy_weights(tested.net, name.strip())
    log.line("caffe.cpp:281", f"Running for {args.iterations} iterations.")

    def seen(batch: int, values: list[tuple[str, float]]) -> None:
        for blob, value in values:
            log.line("caffe.cpp:304", f"Batch {batch}, {blob} = {number(value)}")

    scores = mean_scores(tested, args.iterations, seen=seen)
    assert scores is not None
    log.line("caffe.cpp:309", f"Loss: {number(scores.loss)}")
    for blob, value in scores.scores:
        log.line("caffe.cpp:321", named(blob, value, tested.weights[blob]))
    return 0
