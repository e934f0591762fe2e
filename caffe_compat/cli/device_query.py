"""``device_query``: describe the CUDA devices, with the log lines of BVLC Caffe 9b89154's common.cpp."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace

import torch

from caffe_compat.cli.common_flags import opened_log
from caffe_compat.cli.flags import add_json, chosen_gpus

_FIRST_LINE = 178  # of common.cpp


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("--gpu", default="all", metavar="0,1", help="devices to describe (default all)")
    add_json(part)


def run(args: Namespace) -> int:
    """Log the properties of each device; with ``--json`` also write them to stdout."""
    with opened_log(args) as log:
        log.line("caffe.cpp:138", f"Querying GPUs {args.gpu}")
        devices = [properties(gpu) for gpu in chosen_gpus(args.gpu or "all")]
        if not devices:
            log.line(f"common.cpp:{_FIRST_LINE}", "No cuda device present.")
        for device in devices:
            for place, (name, value) in enumerate(device.items()):
                log.line(f"common.cpp:{_FIRST_LINE + place}", f"{name + ':':<31}{value}")
    if args.json:
        sys.stdout.write(json.dumps({"devices": devices}) + "\n")
    return 0


def properties(gpu: int) -> dict[str, object]:
    """Return torch's report about a device, by the names in Caffe's log."""
    reported = torch.cuda.get_device_properties(gpu)
    rows: dict[str, object] = {
        "Device id": gpu,
        "Major revision number": reported.major,
        "Minor revision number": reported.minor,
        "Name": reported.name,
        "Total global memory": reported.total_memory,
    }
    for name, attribute in (
        ("Total shared memory per block", "shared_memory_per_block"),
        ("Total registers per multiprocessor", "regs_per_multiprocessor"),
        ("Warp size", "warp_size"),
        ("Maximum threads per multiprocessor", "max_threads_per_multi_processor"),
        ("Clock rate", "clock_rate"),
        ("Number of multiprocessors", "multi_processor_count"),
    ):
        value = getattr(reported, attribute, None)
        if value is not None:
            rows[name] = value
    return rows
