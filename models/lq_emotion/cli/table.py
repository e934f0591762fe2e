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
    text = "run the paper's experiment, whatever of it is missing, and set the results beside Table 1"
    table = commands.add_parser("table", help=text, description=text, allow_abbrev=False)
    option = table.add_argument
    option("--recordings", type=Path, required=True, metavar="DIR", help="AVEC 2016, RECOLA or synthetic")
    option("--out", type=Path, required=True, metavar="ROOT", help="for all that is made on the way")
    factor = at_least(2, 16)
    option("--scales", nargs="+", type=factor, default=FACTORS, metavar="S", help="factors (3 4 6 8 12 16)")
    option("--rows", nargs="+", choices=ROWS, default=tuple(ROWS), help="methods (all)")
    option("--preset", choices=("authors", "small", "demo"), default="authors", help="how long is trained (authors)")
    option("--iterations", type=at_least(1), metavar="N", help="of every net, in place of the preset's")
    option("--sr-pictures", type=Path, metavar="DIR", help="for super-resolution: the authors' pretrain (faces)")
    option("--max-factor", type=factor, metavar="S", help="of Joint-OA's super-resolution (12, --as paper 16)")
    option("--mixture", nargs="+", type=factor, default=(3, 4, 6), metavar="S", help="of Joint-OA (3 4 6)")
    option("--boxes", type=Path, metavar="DIR", help="face boxes, NAME.mat or NAME.csv; found otherwise")
    add_partitions(table)
    add_dimension(table)
    add_delay(table, 0.0)
    option("--seed", type=at_least(0), default=0, metavar="N", help="of everything drawn (0)")
    option("--jobs", type=at_least(1), default=1, metavar="N", help="nets trained at a time (1)")
    option("--threads", type=at_least(1), default=2, metavar="N", help="of each; other numbers, other bits (2)")
    option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 (auto)")
    add_switches(table)
    option("--dry-run", action="store_true", help="list the stages, what is done, and how long the rest trains")
    option("--json", action="store_true", help="results as JSON on stdout, progress on stderr")
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
        pictures=args.sr_pictures.resolve() if args.sr_pictures else None,
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
