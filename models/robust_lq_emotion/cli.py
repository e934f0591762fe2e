"""``lq-emotion``: the paper's pipeline from the command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caffe_compat.errors import CaffeCompatError
from matlab_ports.errors import PortError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : arguments without the program's name; those of the process by default.

    Returns
    -------
    0, 1 where the command failed or was interrupted (one line on stderr, no traceback), 2 for wrong usage.
    """
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    try:
        _demo(args)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _failed("interrupted; the same command goes on from there")
    except (CaffeCompatError, PortError, OSError) as error:
        return _failed(str(error))
    return 0


def _failed(problem: str) -> int:
    print(f"lq-emotion: error: {problem}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lq-emotion", description="Robust emotion recognition from low-quality pictures.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    text = "train the authors' super-resolution net on a few pictures, and show what it does"
    demo = commands.add_parser("demo", help=text, description=text, allow_abbrev=False)
    demo.add_argument("--out", type=Path, default=Path("demo_out"), metavar="FOLDER", help="default: demo_out")
    demo.add_argument(
        "--images", type=Path, metavar="FOLDER", help="your pictures; the last fifth is held out (scikit-image's)"
    )
    demo.add_argument("--iterations", type=_at_least(1), default=400, metavar="N", help="default: 400; more go on")
    demo.add_argument("--scale", type=_at_least(2, 16), default=3, metavar="N", help="default: 3; the authors' is 12")
    demo.add_argument("--fresh", action="store_true", help="start anew instead of going on with what is in the folder")
    demo.add_argument("--json", action="store_true", help="results as JSON on stdout, progress on stderr")
    return parser


def _at_least(least: int, most: int | None = None) -> Any:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            wanted = f"a whole number from {least}" + (f" to {most}" if most else "")
            raise argparse.ArgumentTypeError(f"{text!r}: {wanted} is expected")
        return int(text)

    return number


def _demo(args: argparse.Namespace) -> None:
    from caffe_compat.models.robust_lq_emotion.demo import Demo

    def say(line: str) -> None:
        print(line, file=sys.stderr if args.json else sys.stdout, flush=True)

    demo = Demo(args.out, images=args.images, scale=args.scale, iterations=args.iterations, fresh=args.fresh, say=say)
    results = demo.run()
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        _report(results, args.out)


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
