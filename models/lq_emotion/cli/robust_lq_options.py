"""Options of the commands that run the study of the first paper, ``table`` and ``study robust-lq``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lq_emotion.cli.options import (
    add_delay,
    add_dimension,
    add_partitions,
    add_switches,
    at_least,
    chosen,
    partitions_of,
)
from lq_emotion.nets.names import FACTORS, ROWS, Net

if TYPE_CHECKING:
    from lq_emotion.studies.robust_lq.plan import CodedPlan, Part, StudyPlan
    from lq_emotion.studies.robust_lq.study import Study


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the options that `plan_of` and `study_of` read."""
    option = parser.add_argument
    option("--recordings", type=Path, required=True, metavar="DIR", help="AVEC 2016, RECOLA or synthetic recordings")
    option("--out", type=Path, required=True, metavar="ROOT", help="folder for all results")
    factor = at_least(2, 16)
    text = "downsampling factors (default 3 4 6 8 12 16)"
    option("--scales", nargs="+", type=factor, default=FACTORS, metavar="S", help=text)
    option("--rows", nargs="+", choices=ROWS, default=tuple(ROWS), help="methods (default: all)")
    text = "solver and length of the trainings; small and demo learn by Adam (default authors)"
    option("--preset", choices=("authors", "small", "demo"), default="authors", help=text)
    option("--iterations", type=at_least(1), metavar="N", help="iterations per net (default: those of the preset)")
    text = "images to train super-resolution on: the authors' folder pretrain (default: faces of the recordings)"
    option("--sr-images", type=Path, metavar="DIR", help=text)
    text = "upsampling factor of Joint-OA's super-resolution (default 12; with --as paper 16)"
    option("--max-factor", type=factor, metavar="S", help=text)
    text = "factors in Joint-OA's training data (default 3 4 6)"
    option("--mixture", nargs="+", type=factor, default=(3, 4, 6), metavar="S", help=text)
    text = "folder of face boxes, NAME.mat or NAME.csv (default: detect faces)"
    option("--boxes", type=Path, metavar="DIR", help=text)
    add_partitions(parser)
    add_dimension(parser)
    add_delay(parser, 0.0)
    option("--seed", type=at_least(0), default=0, metavar="N", help="random seed (default 0)")
    text = "train each net N times, with this seed and those that follow: means and spreads (default 1)"
    option("--seeds", type=at_least(1), default=1, metavar="N", help=text)
    option("--jobs", type=at_least(1), default=1, metavar="N", help="stages in parallel (default 1)")
    option("--cluster", metavar="ADDRESS", help="run the stages on a Dask cluster; its scheduler: tcp://host:8786")
    text = "threads per stage; results differ in the last bits between thread counts (default 2)"
    option("--threads", type=at_least(1), default=2, metavar="N", help=text)
    option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default auto)")
    add_switches(parser)
    text = "list the stages, whether they are done, and the estimated training time"
    option("--dry-run", action="store_true", help=text)
    option("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")


def plan_of(args: argparse.Namespace, parts: Sequence[Part], coded: CodedPlan | None = None) -> StudyPlan:
    """Return the plan that the options describe.

    Raises
    ------
    CaffeCompatError
    """
    from lq_emotion.datasets.avec.layout import dimension_root
    from lq_emotion.datasets.avec.partitions import stored_partitions
    from lq_emotion.studies.robust_lq.plan import CodedPlan, StudyPlan

    out = dimension_root(args.out.resolve(), args.dimension)
    return StudyPlan(
        args.recordings.resolve(),
        out,
        parts=tuple(parts),
        scales=tuple(args.scales),
        rows=tuple(ROWS[row] for row in dict.fromkeys(args.rows)),
        preset=args.preset,
        changes={str(net): {"max_iter": args.iterations} for net in Net} if args.iterations else {},
        max_factor=args.max_factor,
        mixture=tuple(args.mixture),
        images=args.sr_images.resolve() if args.sr_images else None,
        boxes=args.boxes.resolve() if args.boxes else None,
        partitions=partitions_of(args) or stored_partitions(out / "data"),
        dimension=args.dimension,
        delay=args.delay,
        coded=coded or CodedPlan(),
        seed=args.seed,
        seeds=args.seeds,
        threads=args.threads,
        device=args.device,
        switches=chosen(args),
    )


def study_of(args: argparse.Namespace, plan: StudyPlan, say: Callable[[str], None]) -> Study:
    """Return the study of a plan, run as the options say."""
    from lq_emotion.studies.robust_lq.study import Study

    return Study(plan, jobs=args.jobs, cluster=args.cluster, say=say)


def list_stages(study: Study) -> None:
    """Print what ``--dry-run`` shows."""
    for stage, done in study.todo():
        print(f"{'done' if done else 'to do':6} {stage.name}")
    study.estimate()
