"""``lq-emotion calibrate``: learn how far a net's estimates can be trusted, and under which conditions."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lq_emotion.cli.options import at_least, number_from, teller

if TYPE_CHECKING:
    from lq_emotion.quality.calibration import Calibration


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "measure a net's errors on recordings that are shrunk and coded, and keep what follows beside its weights"
    calibrate = commands.add_parser("calibrate", help=text, description=text, allow_abbrev=False)
    option = calibrate.add_argument
    option(
        "recordings", type=Path, nargs="+", metavar="RECORDINGS",
        help="a folder of labelled recordings as AVEC lays them out (its training recordings are left out); for a "
        "classifier video files, which need no labels",
    )  # fmt: skip
    option("--model", required=True, metavar="NAME|FILE", help="a known model, or a caffemodel")
    option("--names", nargs="+", default=(), metavar="NAME", help="recordings to use, none of which the net has seen")
    option("--boxes", type=Path, metavar="FOLDER", help="boxes of the faces, NAME.mat or NAME.csv")
    option("--delay", type=number_from(0), default=0.0, metavar="S", help="delay of the labels in seconds (default 0)")
    option(
        "--scales", type=number_from(1), nargs="+", default=[1, 2, 3, 4, 6, 8, 12], metavar="S",
        help="factors to shrink by (default 1 2 3 4 6 8 12)",
    )  # fmt: skip
    option(
        "--qps", type=at_least(0, 51), nargs="+", default=[20, 28, 36, 44], metavar="QP",
        help="quantisers (default 20 28 36 44)",
    )  # fmt: skip
    option("--codec", choices=("x264", "x265"), default="x264", help="encoder (default x264)")
    option("--frames", type=at_least(1), default=250, metavar="N", help="first frames of a recording (default 250)")
    option("--level", type=float, default=0.9, metavar="P", help="part of the intervals that hold (default 0.9)")
    option(
        "--limit", type=number_from(0), metavar="X",
        help="errors up to which an estimate is trusted (default 1.25 times those on undegraded faces); for a "
        "classifier the least probability that the class stays (default 0.8)",
    )  # fmt: skip
    option("--out", type=Path, metavar="FILE", help="default: NAME.calibration.json beside the weights")
    option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default auto)")
    option("--json", action="store_true", help="print the summary as JSON to stdout and progress to stderr")
    calibrate.set_defaults(run=_calibrate)


def _calibrate(args: argparse.Namespace) -> int:
    from lq_emotion.common.devices import choose_device
    from lq_emotion.nets.known.loading import load_model
    from lq_emotion.quality.run import CalibrationRun
    from lq_emotion.quality.samples import Grid
    from lq_emotion.quality.sources import Reading

    run = CalibrationRun(
        load_model(args.model, device=choose_device(args.device)),
        args.recordings,
        names=args.names,
        reading=Reading(args.frames, args.delay, args.boxes),
        grid=Grid(tuple(sorted(set(args.scales))), tuple(sorted(set(args.qps))), args.codec),
        level=args.level,
        limit=args.limit,
        out=args.out,
        say=teller(args),
    )
    calibration = run.run()
    if args.json:
        print(json.dumps({"file": str(run.file), **calibration.summary()}, indent=2))
    else:
        _report(calibration, run.file)
    return 0


def _report(calibration: Calibration, file: Path) -> None:
    origin = calibration.made_from
    print(f"{file}: {len(origin.recordings)} recordings, {origin.samples} faces")
    for errors in calibration.errors:
        print(
            f"  {errors.name}: {calibration.level:.0%} of the errors are within {errors.undegraded:.3f} on faces as "
            f"recorded; an answer that is always the same, {errors.constant:.3f}"
        )
        print(f"  trusted: errors within {errors.limit:.3g}{_least(errors.enough)}")
        if errors.limit >= errors.constant:
            print("  warning: trusted estimates are no better than an answer that is always the same")
    if calibration.agreement is not None:
        agreement = calibration.agreement
        print(f"  trusted: the class stays in {agreement.limit:.0%} of the frames{_least(agreement.enough)}")
        if agreement.best < agreement.limit:
            print(
                f"  warning: nothing is trusted: {len(origin.recordings)} recordings show no more than "
                f"{agreement.best:.0%}; add recordings of other people, or pass a lower --limit or --level"
            )


def _least(enough: Mapping[str, float]) -> str:
    return "".join(f"; rarely below a {name} of {value:.3g}" for name, value in enough.items())
