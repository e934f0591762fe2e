"""``lq-emotion sr-demo``: the authors' super-resolution net trained on a few images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lq_emotion.cli.options import at_least, teller

if TYPE_CHECKING:
    from lq_emotion.studies.robust_lq.sr_demo.results import DemoResults


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "train the authors' super-resolution net on a few images, and compare it with interpolation"
    demo = commands.add_parser("sr-demo", help=text, description=text, allow_abbrev=False)
    demo.add_argument(
        "--out", type=Path, default=Path("sr_demo_out"), metavar="FOLDER", help="output folder (default sr_demo_out)"
    )
    demo.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="your images, of which the last fifth is held out (default: images of scikit-image)",
    )
    demo.add_argument(
        "--iterations",
        type=at_least(1),
        default=400,
        metavar="N",
        help="iterations in all; a larger number continues an earlier run (default 400)",
    )
    demo.add_argument(
        "--scale",
        type=at_least(2, 16),
        default=3,
        metavar="N",
        help="upsampling factor (default 3; the authors used 12)",
    )
    demo.add_argument("--fresh", action="store_true", help="discard earlier results instead of continuing")
    demo.add_argument("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")
    demo.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> int:
    from lq_emotion.studies.robust_lq.sr_demo.demo import Demo

    say = teller(args)
    demo = Demo(args.out, images=args.images, scale=args.scale, iterations=args.iterations, fresh=args.fresh, say=say)
    results = demo.run()
    if args.json:
        print(json.dumps(results.to_json(), indent=2))
    else:
        _report(results, args.out)
    return 0


_COLUMNS = {"nearest": "low resolution", "bicubic": "bicubic", "sr_fcn": "SR-FCN"}


def _report(results: DemoResults, out: Path) -> None:
    rows = {**results.psnr, "mean": results.mean_psnr} if len(results.psnr) > 1 else results.psnr
    width = max(map(len, [*rows, "held out"]))
    print(f"\nPSNR of Y in dB, scale {results.scale}, after {results.iterations} iterations")
    print("  ".join([f"{'held out':{width}}", *(f"{title:>14}" for title in _COLUMNS.values())]))
    for name, psnr in rows.items():
        print("  ".join([f"{name:{width}}", *(f"{_shown(getattr(psnr, method)):>14}" for method in _COLUMNS)]))
    print("(low resolution: each of its pixels shown as a square, that is nearest neighbour)")
    gain = results.gain_over_bicubic
    if gain is not None:
        verdict = f"{gain:.2f} dB better than" if gain > 0 else f"{-gain:.2f} dB worse than"
        print(f"SR-FCN is {verdict} bicubic interpolation on images it was not trained on.")
    files = results.files
    for name in (files.comparison, files.losses, files.caffemodel, files.torch):
        print(f"  {out / name}")


def _shown(psnr: float | None) -> str:
    return "equal" if psnr is None else f"{psnr:.2f}"
