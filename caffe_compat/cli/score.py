"""``test``: score a model, as tools/caffe.cpp of BVLC Caffe 9b89154 does."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from caffe_compat.build.weights import copy_weights
from caffe_compat.cli.common_flags import opened_log
from caffe_compat.cli.flags import add_device, add_state, count, scoring_device
from caffe_compat.data import CRand
from caffe_compat.runtime.memory import keep_freed_memory
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver.creation import after, before
from caffe_compat.solver.definitions import prepare_in_state, redirect
from caffe_compat.solver.log import named, number
from caffe_compat.solver.nets import FedNet
from caffe_compat.solver.testing import mean_scores


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("--model", required=True, metavar="FILE", help="net definition (prototxt)")
    part.add_argument("--weights", required=True, metavar="A,B", help="weights to score, matched by layer name")
    part.add_argument("--iterations", type=count, default=50, metavar="N", help="batches to run (default 50)")
    part.add_argument("--test_source", metavar="FILE", help="source of the data layer, overriding the definition")
    add_device(part)
    add_state(part)


def run(args: Namespace) -> int:
    """Score a model."""
    with opened_log(args) as log:
        device = scoring_device(args, log, (266, 270, 275))
        stages = args.stage.split(",")  # like Caffe, an empty list becomes one empty name
        state = pb.NetState(level=args.level, stage=stages)
        prepared = prepare_in_state(args.model, "TEST", state, fork=args.fork)
        if args.test_source:
            prepared = redirect(prepared, args.test_source)
        if device.type == "cpu":
            keep_freed_memory()
        log.lines(before(prepared))

        def log_batch(batch: int, values: list[tuple[str, float]]) -> None:
            for blob, value in values:
                log.line("caffe.cpp:304", f"Batch {batch}, {blob} = {number(value)}")

        with FedNet(prepared, rng=CRand(), seed=None, device=device, exact=args.exact) as tested:
            log.lines(after(tested.graph))
            for name in args.weights.split(","):
                log.copied(copy_weights(tested.net, name.strip()), name.strip())
            log.line("caffe.cpp:281", f"Running for {args.iterations} iterations.")
            scores = mean_scores(tested, args.iterations, seen=log_batch)
        assert scores is not None
        log.line("caffe.cpp:309", f"Loss: {number(scores.loss)}")
        for blob, value in scores.scores:
            log.line("caffe.cpp:321", named(blob, value, tested.weights[blob]))
    return 0
