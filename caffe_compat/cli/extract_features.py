"""``extract_features``: store blobs of a net, with the arguments of BVLC Caffe's tool."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

import torch

from caffe_compat.build.net import build_net, fill_net
from caffe_compat.build.weights import copy_weights
from caffe_compat.cli.flags import count, no_device
from caffe_compat.definition.prepare import prepare
from caffe_compat.errors import DataError
from caffe_compat.solver import CaffeLog
from caffe_compat.tools.features import FORMATS, extract_features
from caffe_compat.tools.feeds import feed


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("weights", help="caffemodel or HDF5 weights")
    part.add_argument("model", help="net with a data layer (prototxt)")
    part.add_argument("blobs", metavar="BLOB[,BLOB]", help="blobs to store")
    part.add_argument("datasets", metavar="NAME[,NAME]", help="database or file to create for each blob")
    part.add_argument("batches", type=count, metavar="NUM_MINI_BATCHES", help="batches to run")
    part.add_argument("db_type", choices=FORMATS, help="kind of database; hdf5 is an addition to Caffe's tool")
    part.add_argument("mode", nargs="?", choices=("CPU", "GPU"), default="CPU", help="where to run (default CPU)")
    part.add_argument(
        "device_id", nargs="?", type=int, default=0, metavar="DEVICE_ID", help="with GPU: device number (default 0)"
    )


def run(args: Namespace) -> int:
    """Run the net and store the blobs."""
    log = CaffeLog(sys.stderr)
    blobs, datasets = args.blobs.split(","), args.datasets.split(",")
    if len(blobs) != len(datasets):
        problem = f"{len(blobs)} blobs need {len(blobs)} datasets, got {len(datasets)}"
        raise DataError(
            problem, code="wrong-count", field="NAME", value=args.datasets, hint="name one dataset per blob"
        )
    device = torch.device("cpu")
    if args.mode == "GPU":
        if not 0 <= args.device_id < torch.cuda.device_count():
            raise no_device(torch.cuda.device_count(), "DEVICE_ID", args.device_id, hint="use CPU")
        device = torch.device("cuda", args.device_id)
        log.line("extract_features.cpp:56", f"Using Device_id={args.device_id}")
    log.line("extract_features.cpp:50", f"Using {args.mode}")
    with feed(prepare(args.model, fork=args.fork), made_up=False) as data:
        net = build_net(data.graph, empty=True)
        log.copied(copy_weights(net, args.weights), args.weights)
        fill_net(net)
        net.to(device)
        extract_features(
            net,
            data,
            list(zip(blobs, datasets, strict=True)),
            args.batches,
            fmt=args.db_type,
            device=device,
            report=lambda line: log.line("extract_features.cpp:165", line),
        )
    log.line("extract_features.cpp:185", "Successfully extracted the features!")
    return 0
