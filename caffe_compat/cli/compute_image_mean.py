"""``compute_image_mean``: the mean image of a database, like BVLC Caffe's tool."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from caffe_compat.data.database import BACKENDS
from caffe_compat.formats.files import BlobStore, write_binary
from caffe_compat.formats.regular_file import require_other_file
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import CaffeLog
from caffe_compat.solver.log import number
from caffe_compat.tools.imageset import channel_means, compute_image_mean


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("database", metavar="INPUT_DB", help="LMDB or LevelDB of Datums")
    part.add_argument("output", nargs="?", metavar="OUTPUT_FILE", help="file to write the mean to (binaryproto)")
    part.add_argument("--backend", choices=tuple(BACKENDS), default="lmdb", help="kind of database (default lmdb)")
    part.add_argument(
        "--double",
        action="store_true",
        help="sum in double precision; Caffe's single precision loses digits over many images",
    )


def run(args: Namespace) -> int:
    """Compute the mean image, write it, and log the mean of each channel."""
    if args.output and Path(args.database).is_dir():
        require_other_file(args.output, *Path(args.database).iterdir())
    log = CaffeLog(sys.stderr)
    mean = compute_image_mean(
        args.database,
        backend=args.backend,
        double=args.double,
        report=lambda line: log.line("compute_image_mean.cpp:92", line),
    )
    if args.output:
        log.line("compute_image_mean.cpp:101", f"Write to {args.output}")
        blob, store = pb.BlobProto(), BlobStore()
        store.attach(blob, mean[np.newaxis], legacy_shape=True)
        write_binary(blob, args.output, store)
    log.line("compute_image_mean.cpp:107", f"Number of channels: {len(mean)}")
    for channel, value in enumerate(channel_means(mean)):
        log.line("compute_image_mean.cpp:112", f"mean_value channel [{channel}]: {number(value)}")
    return 0
