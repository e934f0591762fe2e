"""``device_query``: what is known of the CUDA devices, in the lines of BVLC Caffe 9b89154's common.cpp."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace

import torch

from caffe_compat.cli.common_flags import opened_log
from caffe_compat.cli.flags import add_json, chosen_gpus
from caffe_compat.solver import Log

_FIRST_LINE = 178  # of common.cpp


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.set_defaults(run=run)
    part.add_argument("--gpu", default="all", metavar="0,1", help="the devices (default all)")
    add_json(part)


def run(args: Namespace) -> int:
    """Log what each device is; with ``--json`` write it to stdout."""
    with opened_log(args) as log:
        return _run(args, log)


def _run(args: Namespace, log: Log) -> int:
    log.line("caffe.cpp:138", f"Querying GPUs {args.gpu}")
    found = [described(gpu) for gpu in chosen_gpus(args.gpu or "all")]
    if not found:
        log.line(f"common.cpp:{_FIRST_LINE}", "No cuda device present.")
    for device in found:
        for place, (name, value) in enumerate(device.items()):
            log.line(f"common.cpp:{_FIRST_LINE + place}", f"{name + ':':<31}{value}")
    if args.json:
        sys.stdout.write(json.dumps({"devices": found}) + "\n")
    return 0


def described(gpu: int) -> dict[str, object]:
    """Return what torch knows of a device, under the names Caffe logs."""
    known = torch.cuda.get_device_properties(gpu)
    rows: dict[str, object] = {
        "Device id": gpu,
        "Major revision number": known.major,
        "Minor revision number": known.minor,
        "Name": known.name,
        "Total global memory": known.total_memory,
    }
    for name, attribute in (
        ("Total shared memory per block", "shared_memory_per_block"),
        ("Total registers per multiprocessor", "regs_per_multiprocessor"),
        ("Warp size", "warp_size"),
        ("Maximum threads per multiprocessor", "max_threads_per_multi_processor"),
        ("Clock rate", "clock_rate"),
        ("Number of multiprocessors", "multi_processor_count"),
    ):
        value = getattr(known, attribute, None)
        if value is not None:
            rows[name] = value
    return rows
