"""``time``: time each layer forward and backward, with the log lines of BVLC Caffe 9b89154's tools/caffe.cpp."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

import torch

from caffe_compat.build.net import build_net, fill_net
from caffe_compat.build.weights import copy_weights
from caffe_compat.cli.common_flags import opened_log
from caffe_compat.cli.flags import add_device, add_inputs, add_json, add_state, count, scoring_device
from caffe_compat.errors import NetError
from caffe_compat.layers.hdf5_output import nothing_written
from caffe_compat.runtime.memory import keep_freed_memory
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import CaffeLog
from caffe_compat.solver.creation import after, before
from caffe_compat.solver.definitions import prepare_in_state
from caffe_compat.solver.log import number
from caffe_compat.tools.feeds import Feed, feed
from caffe_compat.tools.timing import time_net


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("--model", required=True, metavar="FILE", help="net definition (prototxt)")
    part.add_argument(
        "--weights", metavar="A,B", help="weights, matched by layer name (default: drawn from the fillers)"
    )
    part.add_argument("--iterations", type=count, default=50, metavar="N", help="passes to time (default 50)")
    part.add_argument("--phase", choices=("TRAIN", "TEST"), default="TRAIN", help="phase of the net (default TRAIN)")
    add_device(part)
    add_state(part)
    add_inputs(part)
    add_json(part)


def run(args: Namespace) -> int:
    """Time a net; log to stderr and, with ``--json``, write the times to stdout."""
    with opened_log(args) as log:
        device = scoring_device(args, log, (339, 340, 343))
        if device.type == "cpu":
            keep_freed_memory()
        state = pb.NetState(level=args.level, stage=args.stage.split(","))
        prepared = prepare_in_state(args.model, args.phase, state, fork=args.fork)
        log.lines(before(prepared))
        with feed(prepared, input_shapes=dict(args.input)) as data:
            log.lines(after(data.graph))
            return _time(args, data, device, log)


def _time(args: Namespace, data: Feed, device: torch.device, log: CaffeLog) -> int:
    for note in data.notes:
        log.line("caffe.cpp:346", note)
    net = build_net(data.graph, empty=True, exact=args.exact)
    for name in args.weights.split(",") if args.weights else ():
        log.copied(copy_weights(net, name.strip()), name.strip())
    fill_net(net)
    net.to(device)
    if not net.caffe.nodes:
        problem = "the net has no layers in this phase"
        raise NetError(problem, code="empty", file=args.model, field="--phase", value=args.phase)

    def begin(loss: float) -> None:
        log.line("caffe.cpp:356", f"Initial loss: {number(loss)}")
        log.line("caffe.cpp:365", "*** Benchmark begins ***")
        log.line("caffe.cpp:366", f"Testing for {args.iterations} iterations.")

    def each(iteration: int, ms: float) -> None:
        log.line("caffe.cpp:394", f"Iteration: {iteration} forward-backward time: {number(ms)} ms.")

    log.line("caffe.cpp:351", "Performing Forward")
    with nothing_written(net):
        times = time_net(net, data, args.iterations, device=device, each=each, begin=begin)
    log.line("caffe.cpp:397", "Average time per layer: ")
    for row in times.layers:
        log.line("caffe.cpp:400", f"{row.name:>10}\tforward: {number(row.forward_ms)} ms.")
        log.line("caffe.cpp:403", f"{row.name:>10}\tbackward: {number(row.backward_ms)} ms.")
    for source_line, label, ms in (
        (408, "Average Forward pass", times.forward_ms),
        (410, "Average Backward pass", times.backward_ms),
        (412, "Average Forward-Backward", times.forward_backward_ms),
        (414, "Total Time", times.total_ms),
        (415, "As one module: forward", times.net_forward_ms),
        (415, "As one module: forward-backward", times.net_forward_backward_ms),
    ):
        log.line(f"caffe.cpp:{source_line}", f"{label}: {number(ms)} ms.")
    log.line("caffe.cpp:415", "*** Benchmark ends ***")
    if args.json:
        sys.stdout.write(json.dumps({"net": net.caffe.name, "device": str(device), **asdict(times)}) + "\n")
    return 0
