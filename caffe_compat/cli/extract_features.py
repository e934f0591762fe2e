"""``extract_features``: blobs of a net on its data, with the arguments of BVLC Caffe's tool."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

import torch

from caffe_compat.build.net import build_net, fill_net
from caffe_compat.build.weights import copy_weights
from caffe_compat.cli.flags import chosen_gpus, count
from caffe_compat.definition.prepare import prepare
from caffe_compat.errors import DataError, SolverError
from caffe_compat.solver import Log
from caffe_compat.tools.features import FORMATS, extract_features
from caffe_compat.tools.feeds import feed


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.set_defaults(run=run)
    part.add_argument("weights", help="caffemodel or HDF5 weights")
    part.add_argument("model", help="net with a data layer (prototxt)")
    part.add_argument("blobs", metavar="BLOB[,BLOB]", help="blobs to store")
    part.add_argument("datasets", metavar="NAME[,NAME]", help="database or file to make for each")
    part.add_argument("batches", type=count, metavar="NUM_MINI_BATCHES", help="batches to run")
    part.add_argument("db_type", choices=FORMATS, help="kind of database; hdf5 is one that Caffe's tool does not have")
    part.add_argument("mode", nargs="?", choices=("CPU", "GPU"), default="CPU", help="where to run (default CPU)")
    part.add_argument("device_id", nargs="?", default="0", metavar="DEVICE_ID", help="with GPU: which (default 0)")


def run(args: Namespace) -> int:
    """Store the blobs."""
    log = Log(sys.stderr)
    blobs, datasets = args.blobs.split(","), args.datasets.split(",")
    if len(blobs) != len(datasets):
        raise DataError(f"{len(blobs)} blobs and {len(datasets)} datasets are named", hint="as many of each")
    device = torch.device("cpu")
    if args.mode == "GPU":
        gpus = chosen_gpus(args.device_id)
        if not gpus:
            raise SolverError("there are 0 CUDA devices here", field="mode", value="GPU", hint="CPU")
        device = torch.device("cuda", gpus[0])
        log.line("extract_features.cpp:56", f"Using Device_id={gpus[0]}")
    log.line("extract_features.cpp:50", f"Using {args.mode}")
    with feed(prepare(args.model, fork=args.fork), made_up=False) as fed:
        net = build_net(fed.graph, empty=True)
        log.copied(copy_weights(net, args.weights), args.weights)
        fill_net(net)
        net.to(device)
        extract_features(
            net,
            fed,
            list(zip(blobs, datasets, strict=True)),
            args.batches,
            fmt=args.db_type,
            device=device,
            told=lambda line: log.line("extract_features.cpp:165", line),
        )
    log.line("extract_features.cpp:185", "Successfully extracted the features!")
    return 0
