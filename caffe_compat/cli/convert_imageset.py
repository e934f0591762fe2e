"""``convert_imageset``: a list of pictures to a database, with the flags of BVLC Caffe's tool."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from caffe_compat.data.write_db import BACKENDS
from caffe_compat.errors import DataError
from caffe_compat.solver import Log
from caffe_compat.tools.imageset import Options, convert_imageset, read_image_list


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.set_defaults(run=run)
    part.add_argument("root", metavar="ROOTFOLDER/", help="put before every name of the list")
    part.add_argument("list", metavar="LISTFILE", help="lines of NAME LABEL")
    part.add_argument("database", metavar="DB_NAME", help="database to make; it must not exist")
    part.add_argument("--gray", action="store_true", help="read pictures as grayscale")
    part.add_argument("--shuffle", action="store_true", help="shuffle the list")
    part.add_argument("--seed", type=int, default=1, metavar="N", help="of the shuffle (default 1; Caffe's is random)")
    part.add_argument("--backend", choices=tuple(BACKENDS), default="lmdb", help="kind of database (default lmdb)")
    part.add_argument("--resize_width", type=int, default=0, metavar="N", help="width to resize to, with a height")
    part.add_argument("--resize_height", type=int, default=0, metavar="N", help="height to resize to, with a width")
    part.add_argument("--check_size", action="store_true", help="refuse pictures of different sizes")
    part.add_argument("--encoded", action="store_true", help="store pictures coded, in the format of their names")
    part.add_argument("--encode_type", default="", metavar="TYPE", help="store pictures coded as png, jpg, ...")
    part.add_argument("--strict", action="store_true", help="refuse a picture that cannot be read; Caffe leaves it out")


def run(args: Namespace) -> int:
    """Make the database."""
    log = Log(sys.stderr)
    height, width = max(args.resize_height, 0), max(args.resize_width, 0)
    if bool(height) != bool(width):
        problem = "only one of --resize_height and --resize_width is given; Caffe would not resize at all"
        raise DataError(problem, hint="give both")
    if args.encode_type and not args.encoded:
        log.line("convert_imageset.cpp:91", "encode_type specified, assuming encoded=true.")
    options = Options(
        gray=args.gray,
        resize=(height, width) if height else None,
        encode=args.encode_type,
        keep_encoding=args.encoded,
        check_size=args.check_size,
        strict=args.strict,
    )
    convert_imageset(
        args.root,
        read_image_list(args.list),
        args.database,
        options,
        backend=args.backend,
        shuffle_seed=args.seed if args.shuffle else None,
        told=lambda line: log.line("convert_imageset.cpp:147", line),
    )
    return 0
