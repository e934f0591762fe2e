"""``lq-emotion demo``: the paper's experiment in a few minutes, on recordings that are made for it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lq_emotion.cli.options import at_least, teller
from lq_emotion.nets.names import Method, Net

_TRAIN, _DEV, _FRAMES, _SIDE = 4, 2, 250, 320


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "run the paper's experiment on synthetic recordings: crops, HDF5 files, trainings, scores and a table"
    demo = commands.add_parser("demo", help=text, description=text, allow_abbrev=False)
    demo.add_argument(
        "--out", type=Path, default=Path("demo_out"), metavar="FOLDER", help="output folder (default demo_out)"
    )
    demo.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        metavar="N",
        help="random seed of the people and of the trainings (default 0)",
    )
    demo.add_argument(
        "--iterations", type=at_least(1), metavar="N", help="iterations per net (default 120; 60 for super-resolution)"
    )
    demo.add_argument(
        "--threads",
        type=at_least(1),
        default=2,
        metavar="N",
        help="threads per stage; results differ in the last bits between thread counts (default 2)",
    )
    demo.add_argument("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")
    demo.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> int:
    from lq_emotion.datasets.synthetic.package import SyntheticSettings, make_recordings
    from lq_emotion.report.build import make_report, write_report
    from lq_emotion.studies.robust_lq.plan import StudyPlan
    from lq_emotion.studies.robust_lq.study import Study
    from lq_emotion.studies.robust_lq.table import markdown

    say = teller(args)
    out = args.out.resolve()
    settings = SyntheticSettings(train=_TRAIN, dev=_DEV, frames=_FRAMES, width=_SIDE, height=_SIDE, seed=args.seed)
    make_recordings(out / "recordings", settings, jobs=2, say=say)
    changes = {str(net): {"max_iter": args.iterations} for net in Net} if args.iterations else {}
    plan = StudyPlan(
        out / "recordings",
        out,
        scales=(3,),
        rows=(Method.HR, Method.LR, Method.JOINT_OA),
        preset="demo",
        changes=changes,
        seed=args.seed,
        threads=args.threads,
        device="cpu",
    )
    results = Study(plan, say=say).run()
    write_report(make_report(out), out / "report" / "report.html", out / "report" / "report.md")
    if args.json:
        print(json.dumps(results.to_json(), indent=2))
        return 0
    print(f"\n{markdown(results)}")
    print("No net is finished in this time; `lq-emotion table --preset small` takes longer, `--preset authors` months.")
    for path in (
        out / "data/figures/dev_1_crops.png",
        out / "runs/HR/loss.png",
        out / "scores/HR_on_HQ/traces.png",
        out / "table/table.png",
        out / "report/report.html",
    ):
        print(f"  {path}")
    return 0
