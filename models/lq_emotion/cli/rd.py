"""``lq-emotion rd``: recognition from coded video against QP and bits per pixel (Figure 4)."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lq_emotion.cli.options import add_delay, add_partitions, at_least, number_from, partitions_of, teller

if TYPE_CHECKING:
    from lq_emotion.studies.robust_lq.rd_results import SweepResults


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "downsample, encode, decode, upsample and score recordings: CC and CCC against QP and bits per pixel"
    rd = commands.add_parser("rd", help=text, description=text, allow_abbrev=False)
    option = rd.add_argument
    option("--data", type=Path, required=True, metavar="FOLDER", help="folder of crops: ROOT/data/raw_data/HQ")
    option(
        "--weights",
        type=_model,
        nargs="+",
        required=True,
        metavar="NAME=FILE",
        help="caffemodels or folders of trainings; NAME@3=FILE is used at scale 3 only",
    )
    option(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for tables, plots and intermediate results"
    )
    option("--names", nargs="+", default=(), metavar="NAME", help="recordings to score (default: those of --dev)")
    add_partitions(rd)
    add_delay(rd)
    option(
        "--scales",
        type=at_least(1, 96),
        nargs="+",
        default=(3, 4),
        metavar="S",
        help="downsampling factors (default 3 4)",
    )
    option(
        "--codecs",
        nargs="+",
        default=("x264", "x265"),
        metavar="NAME",
        help="x264, x265, vp9, av1, mpeg4 (default x264 x265)",
    )
    option(
        "--qps",
        type=_qps,
        nargs="+",
        default=(),
        metavar="QP",
        help="quantisers, such as 24 or 20..44:4 (default 12..44:4, those of the study)",
    )
    option("--frames", type=at_least(1), metavar="N", help="use the first N frames of each recording (default: all)")
    option("--preset", default="medium", metavar="NAME", help="speed preset of x264 and x265 (default medium)")
    option("--gop", type=at_least(1), default=250, metavar="N", help="frames between key frames (default 250)")
    option("--fps", type=at_least(1), default=25, metavar="N", help="frames per second (default 25)")
    option("--net", type=Path, metavar="FILE", help="deploy definition of the nets (default: the authors' CNN+D)")
    option(
        "--mean",
        type=number_from(),
        default=0.0,
        metavar="X",
        help="mean to subtract from every frame, if h5 --mean-sub was used",
    )
    option(
        "--std",
        type=number_from(1e-12),
        default=1.0,
        metavar="X",
        help="standard deviation to divide every frame by, if h5 --norm was used",
    )
    option(
        "--convention",
        choices=("avec", "population", "sample"),
        default="avec",
        help="definition of CC and CCC (default avec)",
    )
    option("--batch", type=at_least(1), default=64, metavar="N", help="frames per batch (default 64)")
    option(
        "--jobs",
        type=at_least(1),
        default=1,
        metavar="N",
        help="jobs in parallel, each a recording, scale and codec (default 1)",
    )
    option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default auto)")
    option("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")
    rd.set_defaults(run=_rd)


def _model(text: str) -> tuple[str, int | None, Path]:
    parsed = re.fullmatch(r"([\w.+-]+)(?:@([1-9]\d*))?=(.+)", text)
    if not parsed:
        raise argparse.ArgumentTypeError(f"expected NAME=FILE or NAME@SCALE=FILE, got {text!r}")
    name, scale, file = parsed.groups()
    return name, int(scale) if scale else None, Path(file)


def _qps(text: str) -> list[int]:
    parsed = re.fullmatch(r"(\d+)(?:\.\.(\d+)(?::([1-9]\d*))?)?", text)
    first, last, step = (None if part is None else int(part) for part in parsed.groups()) if parsed else (None,) * 3
    if first is None or (last is not None and last < first):
        raise argparse.ArgumentTypeError(f"expected a QP such as 24 or a range such as 20..44:4, got {text!r}")
    return list(range(first, (first if last is None else last) + 1, step or 1))


def _rd(args: argparse.Namespace) -> int:
    from lq_emotion.studies.robust_lq.plan import CodedPlan
    from lq_emotion.studies.robust_lq.rate_distortion import Model, RateDistortion
    from lq_emotion.studies.robust_lq.rd_results import Coding

    say = teller(args)
    results = RateDistortion(
        args.data,
        args.out,
        [Model(name, file, scale) for name, scale, file in args.weights],
        names=args.names,
        partitions=partitions_of(args),
        scales=sorted(set(args.scales)),
        codecs=args.codecs,
        qps=sorted({qp for some in args.qps for qp in some}) or CodedPlan().qps,
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
        print(json.dumps(results.to_json(), indent=2))
    else:
        _report(results, args)
    return 0


def _report(results: SweepResults, args: argparse.Namespace) -> None:
    print(f"\n{'codec':6} {'s':>2} {'QP':>3} {'bpp':>7} {'VCL bpp':>7} {'PSNR':>6}  {'model':12} {'CC':>7} {'CCC':>7}")
    for point in results.points:
        rate = (_text(point.bpp, "7.4f"), _text(point.vcl_bpp, "7.4f"), _text(point.psnr, "6.2f"))
        scores = (_text(point.score.cc, "7.4f"), _text(point.score.ccc, "7.4f"))
        qp = "" if point.qp is None else point.qp
        print(f"{point.codec:6} {point.scale:>2} {qp:>3}", *rate, "", f"{point.model:12}", *scores)
    for line in results.bits_rise_with_qp:
        print(f"bits do not fall with QP: {line}")
    figures = [f"rd_{codec}.png" for codec in dict.fromkeys(args.codecs)]
    for name in ("rd.csv", "rd.json", *figures, "rate.png"):
        print(f"  {args.out / name}")


def _text(value: float | None, form: str) -> str:
    width = int(form.partition(".")[0])
    return f"{'-':>{width}}" if value is None else format(value, form)
