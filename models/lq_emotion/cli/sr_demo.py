"""``lq-emotion sr-demo``: the authors' super-resolution net trained on a few pictures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from lq_emotion.cli.options import at_least, teller


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
    from lq_emotion.common.json_files import contents_of
    from lq_emotion.studies.robust_lq.sr_demo.demo import Demo
    from lq_emotion.studies.robust_lq.sr_demo.workspace import RESULTS

    say = teller(args)
    demo = Demo(args.out, images=args.images, scale=args.scale, iterations=args.iterations, fresh=args.fresh, say=say)
    results = demo.run()
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        with contents_of(args.out / RESULTS):
            _report(results, args.out)
    return 0


_COLUMNS = {"nearest": "low resolution", "bicubic": "bicubic", "sr_fcn": "SR-FCN"}


def _report(results: dict[str, Any], out: Path) -> None:
    rows = {**results["psnr"], "mean": results["mean_psnr"]} if len(results["psnr"]) > 1 else results["psnr"]
    width = max(map(len, [*rows, "held out"]))
    print(f"\nPSNR of Y in dB, scale {results['scale']}, after {results['iterations']} iterations")
    print("  ".join([f"{'held out':{width}}", *(f"{title:>14}" for title in _COLUMNS.values())]))
    for name, scores in rows.items():
        print("  ".join([f"{name:{width}}", *(f"{_shown(scores[method]):>14}" for method in _COLUMNS)]))
    print("(low resolution: each of its pixels shown as a square, that is nearest neighbour)")
    gain = results["gain_over_bicubic"]
    if gain is not None:
        verdict = f"{gain:.2f} dB better than" if gain > 0 else f"{-gain:.2f} dB worse than"
        print(f"SR-FCN is {verdict} bicubic interpolation on pictures it was not trained on.")
    for kind in ("comparison", "losses", "caffemodel", "torch"):
        print(f"  {out / results['files'][kind]}")


def _shown(score: float | None) -> str:
    return "equal" if score is None else f"{score:.2f}"
