"""``lq-emotion data prepare``: recordings to crops of faces."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lq_emotion.cli.options import (
    add_clip_options,
    add_clips,
    add_dimension,
    add_partitions,
    at_least,
    clips_of,
    number_from,
    partitions_of,
    teller,
)

if TYPE_CHECKING:
    from lq_emotion.datasets.avec.partitions import Partitions

_BACKENDS = ("processes", "threading", "dask")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "crop the faces of AVEC 2016 or RECOLA recordings, or of your own clips, with their labels"
    prepare = commands.add_parser("prepare", help=text, description=text, allow_abbrev=False)
    source = prepare.add_mutually_exclusive_group(required=True)
    source.add_argument("--recordings", type=Path, metavar="FOLDER", help="your copy of AVEC 2016 or RECOLA")
    add_clips(source)
    prepare.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="ROOT",
        help="output folder; writes data/bbox, data/gsd and data/raw_data below it",
    )
    prepare.add_argument(
        "--layout", choices=("auto", "avec2016", "recola"), default="auto", help="layout of the folder (default auto)"
    )
    prepare.add_argument(
        "--names", nargs="+", default=(), metavar="NAME", help="recordings to prepare (default: all with labels)"
    )
    prepare.add_argument(
        "--unlabelled",
        action="store_true",
        help="prepare recordings without labels, too, such as AVEC's test partition (see `lq-emotion submission`)",
    )
    prepare.add_argument(
        "--scales",
        nargs="+",
        type=at_least(2),
        default=(),
        metavar="S",
        help="downsampling factors of the LR crops, such as 3 4 6 8 12 16 (default: HQ only)",
    )
    add_partitions(prepare)
    add_clip_options(prepare)
    _add_labels(prepare.add_argument_group("labels"))
    _add_faces(prepare.add_argument_group("faces"))
    _add_work(prepare.add_argument_group("work"))
    prepare.set_defaults(run=_prepare)


def _add_labels(labels: argparse._ArgumentGroup) -> None:
    add_dimension(labels)
    labels.add_argument(
        "--labels",
        choices=("auto", "gold", "raters"),
        default="auto",
        help="use the gold standard, or rebuild it from the raters' traces (default auto: gold if present)",
    )
    help_text = (
        "delay of the gold standard in seconds; labels are shifted back by it, and scoring accounts for it (default 0)"
    )
    labels.add_argument("--delay", type=number_from(0), default=0.0, metavar="S", help=help_text)


def _add_faces(faces: argparse._ArgumentGroup) -> None:
    faces.add_argument(
        "--boxes",
        type=Path,
        metavar="FOLDER",
        help="folder of face boxes, NAME.mat or NAME.csv (default: detect faces)",
    )
    faces.add_argument("--every", type=at_least(1), metavar="K", help="detect faces in every K-th frame")
    faces.add_argument("--smooth", type=at_least(1), metavar="N", help="average boxes over N frames (odd)")
    faces.add_argument(
        "--hold", type=at_least(0), metavar="N", help="keep the last box for up to N frames without a face"
    )
    faces.add_argument(
        "--smallest",
        type=float,
        default=100,
        metavar="PX",
        help="keep faces whose box is wider and higher than PX pixels (default 100)",
    )


def _add_work(work: argparse._ArgumentGroup) -> None:
    work.add_argument(
        "--luma",
        choices=("rgb", "plane", "gray"),
        default="rgb",
        help="luma from RGB, like the scripts; the video's Y plane; or gray (default rgb)",
    )
    work.add_argument(
        "--version",
        choices=("v6", "v7", "v7.3"),
        default="v6",
        help="version of the MAT-files with crops (default v6, which is read without inflating)",
    )
    work.add_argument("--no-figures", action="store_true", help="skip contact sheets and plots of the labels")
    work.add_argument("--jobs", type=at_least(1), default=1, metavar="N", help="recordings in parallel (default 1)")
    work.add_argument(
        "--backend", choices=_BACKENDS, default="processes", help="what runs the jobs (default processes)"
    )
    work.add_argument(
        "--cluster", metavar="ADDRESS", help="address of the Dask scheduler for --backend dask: tcp://host:8786"
    )
    work.add_argument("--fresh", action="store_true", help="discard earlier results")
    work.add_argument("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")


def _prepare(args: argparse.Namespace) -> int:
    from lq_emotion.crops.boxes import BoxSettings
    from lq_emotion.crops.outcome import Preparation
    from lq_emotion.crops.prepare import prepare, table
    from lq_emotion.crops.recording import PreparationSettings
    from lq_emotion.datasets.avec.layout import dimension_root

    say = teller(args)
    chosen = {name: getattr(args, name) for name in ("every", "smooth", "hold")}
    settings = PreparationSettings(
        scales=tuple(args.scales),
        dimension=args.dimension,
        labels=args.labels,
        delay=args.delay,
        smallest=args.smallest,
        version=f"-{args.version}",
        luma=args.luma,
        boxes=BoxSettings(**{name: value for name, value in chosen.items() if value is not None}),
        figures=not args.no_figures,
    )
    jobs = args.jobs if args.backend == "processes" else None
    recordings, names, partitions = _recordings(args)
    with _workers(args):
        outcomes = prepare(
            recordings, dimension_root(args.out, args.dimension), settings, layout=args.layout, names=names,
            partitions=partitions, boxes=args.boxes, unlabelled=args.unlabelled, jobs=jobs, fresh=args.fresh, say=say,
        )  # fmt: skip
    if args.json:
        print(json.dumps(Preparation(tuple(outcomes)).to_json(), indent=2))
    else:
        print(f"\n{table(outcomes)}")
    failed = [outcome.name for outcome in outcomes if outcome.status == "failed"]
    if failed:
        sys.stderr.write(f"lq-emotion: error: {len(failed)} of {len(outcomes)} failed: {', '.join(failed)}\n")
    return 1 if failed else 0


def _recordings(args: argparse.Namespace) -> tuple[Path, Sequence[str], Partitions | None]:
    """Return the folder of recordings, the names of those to prepare, and their partitions; clips are copied first."""
    from caffe_compat.errors import DataError
    from lq_emotion.datasets.clips.recordings import write_recordings

    partitions = partitions_of(args)
    table = clips_of(args)
    if table is None:
        return args.recordings, args.names, partitions
    if partitions is not None:
        problem, hint = "states the partitions of recordings", "clips have a column `partition`, or --split"
        raise DataError(problem, code="conflict", field="--train, --dev, --partitions", hint=hint)
    if args.dimension not in table.dimensions:
        hint = f"the labels are {', '.join(table.names)}"
        raise DataError("no such label", code="name-unknown", file=table.path, field=args.dimension, hint=hint)
    folder = args.out / "recordings"
    partitions = write_recordings(table, folder, fresh=args.fresh, say=teller(args))
    return folder, args.names or [clip.name for clip in table.clips], partitions


@contextlib.contextmanager
def _workers(args: argparse.Namespace) -> Iterator[None]:
    import joblib

    from caffe_compat.errors import DataError
    from lq_emotion.common.cluster import dask_workers

    if args.backend == "processes":
        yield
        return
    if args.backend == "threading":
        with joblib.parallel_config(backend="threading", n_jobs=args.jobs):
            yield
        return
    if args.cluster is None:
        raise DataError(
            "the address of the Dask scheduler is missing",
            code="field-missing",
            field="--cluster",
            hint="pass --cluster tcp://host:8786",
        )
    with dask_workers(args.cluster):
        yield
