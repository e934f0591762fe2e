"""``lq-emotion rd``: recognition from coded pictures against QP and bits per pixel (Figure 4)."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from lq_emotion.cli.options import add_delay, add_partitions, at_least, number_from, partitions_of, teller

_QPS = "20..44:4"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "shrink, really encode, decode, enlarge and score recordings: CC and CCC against QP and bits per pixel"
    rd = commands.add_parser("rd", help=text, description=text, allow_abbrev=False)
    option = rd.add_argument
    option("--data", type=Path, required=True, metavar="FOLDER", help="recordings: ROOT/data/raw_data/HQ")
    option(
        "--weights",
        type=_model,
        nargs="+",
        required=True,
        metavar="NAME=FILE",
        help="caffemodels or folders of runs; NAME@3=FILE for one that is shown at scale 3 only",
    )
    option("--out", type=Path, required=True, metavar="FOLDER", help="for tables, pictures and what is gone on from")
    option("--names", nargs="+", default=(), metavar="NAME", help="recordings to score (those of --dev)")
    add_partitions(rd)
    add_delay(rd)
    option("--scales", type=at_least(1, 96), nargs="+", default=(3, 4), metavar="S", help="times smaller (3 4)")
    option("--codecs", nargs="+", default=("x264", "x265"), metavar="NAME", help="x264, x265, vp9, av1, mpeg4")
    option("--qps", type=_qps, nargs="+", default=[_qps(_QPS)], metavar="QP", help=f"as 24 or 20..44:4 ({_QPS})")
    option("--frames", type=at_least(1), metavar="N", help="the first N frames of each recording (all)")
    option("--preset", default="medium", metavar="NAME", help="speed of x264 and x265 (medium)")
    option("--gop", type=at_least(1), default=250, metavar="N", help="pictures from one key picture to the next (250)")
    option("--fps", type=at_least(1), default=25, metavar="N", help="pictures per second (25)")
    option("--net", type=Path, metavar="FILE", help="definition of the nets (the authors' deploy form of CNN+D)")
    option(
        "--mean", type=number_from(), default=0.0, metavar="X", help="subtract from every frame, after h5 --mean-sub"
    )
    option(
        "--std", type=number_from(1e-12), default=1.0, metavar="X", help="divide every frame by this, after h5 --norm"
    )
    option("--convention", choices=("avec", "population", "sample"), default="avec", help="of CC and CCC (avec)")
    option("--batch", type=at_least(1), default=64, metavar="N", help="frames at once (64)")
    option("--jobs", type=at_least(1), default=1, metavar="N", help="recordings, scales and codecs at a time (1)")
    option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (auto)")
    option("--json", action="store_true", help="results as JSON on stdout, progress on stderr")
    rd.set_defaults(run=_rd)


def _model(text: str) -> tuple[str, int | None, Path]:
    found = re.fullmatch(r"([\w.+-]+)(?:@([1-9]\d*))?=(.+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: NAME=FILE or NAME@SCALE=FILE is expected")
    name, scale, file = found.groups()
    return name, int(scale) if scale else None, Path(file)


def _qps(text: str) -> list[int]:
    found = re.fullmatch(r"(\d+)(?:\.\.(\d+)(?::([1-9]\d*))?)?", text)
    first, last, step = (None if part is None else int(part) for part in found.groups()) if found else (None,) * 3
    if first is None or (last is not None and last < first):
        raise argparse.ArgumentTypeError(f"{text!r}: a QP such as 24 or a range such as 20..44:4 is expected")
    return list(range(first, (first if last is None else last) + 1, step or 1))


def _rd(args: argparse.Namespace) -> int:
    from lq_emotion.studies.robust_lq.rate_distortion import Coding, Model, RateDistortion

    say = teller(args)
    results = RateDistortion(
        args.data,
        args.out,
        [Model(name, file, scale) for name, scale, file in args.weights],
        names=args.names,
        partitions=partitions_of(args),
        scales=sorted(set(args.scales)),
        codecs=args.codecs,
        qps=sorted({qp for some in args.qps for qp in some}),
        net=args.net,
        mean=args.mean,
        std=args.std,
        delay=args.delay,
        coding=Coding(args.frames, args.fps, args.gop, args.preset),
        convention=args.convention,
        device=args.device,
        batch=args.batch,
        jobs=args.jobs,
        say=say,
    ).run()
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        _report(results, args)
    return 0


def _report(results: dict[str, Any], args: argparse.Namespace) -> None:
    print(f"\n{'codec':6} {'s':>2} {'QP':>3} {'bpp':>7} {'VCL bpp':>7} {'PSNR':>6}  {'model':12} {'CC':>7} {'CCC':>7}")
    for point in results["points"]:
        rate = (_text(point[key], form) for key, form in (("bpp", "7.4f"), ("vcl_bpp", "7.4f"), ("psnr", "6.2f")))
        scores = (_text(point[key], "7.4f") for key in ("cc", "ccc"))
        qp = "" if point["qp"] is None else point["qp"]
        print(f"{point['codec']:6} {point['scale']:>2} {qp:>3}", *rate, "", f"{point['model']:12}", *scores)
    for line in results["bits_rise_with_qp"]:
        print(f"bits do not fall: {line}")
    pictures = [f"rd_{codec}.png" for codec in dict.fromkeys(args.codecs)]
    for name in ("rd.csv", "rd.json", *pictures, "rate.png"):
        print(f"  {args.out / name}")


def _text(value: float | None, form: str) -> str:
    width = int(form.partition(".")[0])
    return f"{'-':>{width}}" if value is None else format(value, form)
