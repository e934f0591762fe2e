"""``lq-emotion table``: the paper's experiment, from recordings to Table 1."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lq_emotion.cli.options import (
    add_delay,
    add_dimension,
    add_partitions,
    add_switches,
    at_least,
    chosen,
    partitions_of,
    teller,
)
from lq_emotion.nets.names import FACTORS, ROWS, Net


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "run the missing stages of the paper's experiment, and compare the results with Table 1"
    table = commands.add_parser("table", help=text, description=text, allow_abbrev=False)
    option = table.add_argument
    option("--recordings", type=Path, required=True, metavar="DIR", help="AVEC 2016, RECOLA or synthetic recordings")
    option("--out", type=Path, required=True, metavar="ROOT", help="folder for all results")
    factor = at_least(2, 16)
    option(
        "--scales",
        nargs="+",
        type=factor,
        default=FACTORS,
        metavar="S",
        help="downsampling factors (default 3 4 6 8 12 16)",
    )
    option("--rows", nargs="+", choices=ROWS, default=tuple(ROWS), help="methods (default: all)")
    option(
        "--preset",
        choices=("authors", "small", "demo"),
        default="authors",
        help="length of the trainings (default authors)",
    )
    option("--iterations", type=at_least(1), metavar="N", help="iterations per net (default: those of the preset)")
    option(
        "--sr-images",
        type=Path,
        metavar="DIR",
        help="images to train super-resolution on: the authors' folder pretrain (default: faces of the recordings)",
    )
    option(
        "--max-factor",
        type=factor,
        metavar="S",
        help="upsampling factor of Joint-OA's super-resolution (default 12; with --as paper 16)",
    )
    option(
        "--mixture",
        nargs="+",
        type=factor,
        default=(3, 4, 6),
        metavar="S",
        help="factors in Joint-OA's training data (default 3 4 6)",
    )
    option(
        "--boxes", type=Path, metavar="DIR", help="folder of face boxes, NAME.mat or NAME.csv (default: detect faces)"
    )
    add_partitions(table)
    add_dimension(table)
    add_delay(table, 0.0)
    option("--seed", type=at_least(0), default=0, metavar="N", help="random seed (default 0)")
    option("--jobs", type=at_least(1), default=1, metavar="N", help="stages in parallel (default 1)")
    option(
        "--threads",
        type=at_least(1),
        default=2,
        metavar="N",
        help="threads per stage; results differ in the last bits between thread counts (default 2)",
    )
    option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default auto)")
    add_switches(table)
    option(
        "--dry-run", action="store_true", help="list the stages, whether they are done, and the estimated training time"
    )
    option("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")
    table.set_defaults(run=_table)


def _table(args: argparse.Namespace) -> int:
    from lq_emotion.datasets.avec.layout import dimension_root
    from lq_emotion.datasets.avec.partitions import stored_partitions
    from lq_emotion.studies.robust_lq.stages import StudyPlan
    from lq_emotion.studies.robust_lq.table import Study, markdown

    say = teller(args)
    changes = {str(net): {"max_iter": args.iterations} for net in Net} if args.iterations else {}
    out = dimension_root(args.out.resolve(), args.dimension)
    plan = StudyPlan(
        args.recordings.resolve(),
        out,
        scales=tuple(args.scales),
        rows=tuple(ROWS[row] for row in dict.fromkeys(args.rows)),
        preset=args.preset,
        changes=changes,
        max_factor=args.max_factor,
        mixture=tuple(args.mixture),
        images=args.sr_images.resolve() if args.sr_images else None,
        boxes=args.boxes.resolve() if args.boxes else None,
        partitions=partitions_of(args) or stored_partitions(out / "data"),
        dimension=args.dimension,
        delay=args.delay,
        seed=args.seed,
        threads=args.threads,
        device=args.device,
        switches=chosen(args),
    )
    table = Study(plan, jobs=args.jobs, say=say)
    if args.dry_run:
        for stage, done in table.todo():
            print(f"{'done' if done else 'to do':6} {stage.name}")
        table.estimate()
        return 0
    results = table.run()
    if args.json:
        print(json.dumps(results.to_json(), indent=2))
    else:
        print(f"\n{markdown(results)}")
        for name in ("table.md", "table.csv", "table.tex", "table.png", "table.json"):
            print(f"  {out / 'table' / name}")
    return 0
