"""``convert_imageset``: store a list of images in a database, with the flags of BVLC Caffe's tool."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from caffe_compat.data.database import BACKENDS
from caffe_compat.errors import DataError
from caffe_compat.solver import CaffeLog
from caffe_compat.tools.imageset import Options, convert_imageset, read_image_list


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("root", metavar="ROOTFOLDER/", help="prefix of every name in the list")
    part.add_argument("list", metavar="LISTFILE", help="text file with a NAME LABEL pair per line")
    part.add_argument("database", metavar="DB_NAME", help="database to create; it must not exist")
    part.add_argument("--gray", action="store_true", help="read images as grayscale")
    part.add_argument("--shuffle", action="store_true", help="shuffle the list")
    part.add_argument(
        "--seed", type=int, default=1, metavar="N", help="seed of --shuffle (default 1; Caffe's is random)"
    )
    part.add_argument("--backend", choices=tuple(BACKENDS), default="lmdb", help="kind of database (default lmdb)")
    part.add_argument(
        "--resize_width", type=int, default=0, metavar="N", help="resize to this width; needs --resize_height"
    )
    part.add_argument(
        "--resize_height", type=int, default=0, metavar="N", help="resize to this height; needs --resize_width"
    )
    part.add_argument("--check_size", action="store_true", help="fail if images differ in size")
    part.add_argument("--encoded", action="store_true", help="store images encoded, in the format of their suffix")
    part.add_argument("--encode_type", default="", metavar="TYPE", help="store images encoded as png, jpg, ...")
    part.add_argument("--strict", action="store_true", help="fail if an image cannot be read; Caffe skips it")


def run(args: Namespace) -> int:
    """Create the database."""
    log = CaffeLog(sys.stderr)
    height, width = max(args.resize_height, 0), max(args.resize_width, 0)
    if bool(height) != bool(width):
        field, missing = ("--resize_height", "--resize_width") if height else ("--resize_width", "--resize_height")
        problem = f"{missing} is missing; Caffe would not resize at all"
        raise DataError(problem, code="field-missing", field=field, value=height or width, hint="pass both or neither")
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
        report=lambda line: log.line("convert_imageset.cpp:147", line),
    )
    return 0
