"""``lq-emotion prepare``: recordings to crops of faces."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from lq_emotion.cli.options import add_dimension, add_partitions, at_least, number_from, partitions_of, teller

_BACKENDS = ("processes", "threading", "dask")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "crop the faces of AVEC 2016 or RECOLA recordings, with their labels, as the authors' scripts do"
    prepare = commands.add_parser("prepare", help=text, description=text, allow_abbrev=False)
    prepare.add_argument("--recordings", type=Path, required=True, metavar="FOLDER", help="the tree you hold")
    prepare.add_argument(
        "--out", type=Path, required=True, metavar="ROOT", help="for data/bbox, data/gsd, data/raw_data"
    )
    prepare.add_argument("--layout", choices=("auto", "avec2016", "recola"), default="auto")
    prepare.add_argument("--names", nargs="+", default=(), metavar="NAME", help="recordings (all that have labels)")
    prepare.add_argument(
        "--scales", nargs="+", type=at_least(2), default=(), metavar="S", help="LR variants beside HQ: 3 4 6 8 12 16"
    )
    add_partitions(prepare)
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
        help="rebuild them from the raters, or not (auto)",
    )
    told = "seconds by which the gold standard is late: labels are shifted back by them, and scoring knows (0)"
    labels.add_argument("--delay", type=number_from(0), default=0.0, metavar="S", help=told)


def _add_faces(faces: argparse._ArgumentGroup) -> None:
    faces.add_argument("--boxes", type=Path, metavar="FOLDER", help="NAME.mat or NAME.csv you have; found otherwise")
    faces.add_argument("--every", type=at_least(1), metavar="K", help="look for a face in every K-th frame")
    faces.add_argument("--smooth", type=at_least(1), metavar="N", help="average boxes over N frames, an odd number")
    faces.add_argument(
        "--hold", type=at_least(0), metavar="N", help="keep the last box for up to N frames without face"
    )
    faces.add_argument(
        "--smallest", type=float, default=100, metavar="PX", help="boxes must be larger, both ways (100)"
    )


def _add_work(work: argparse._ArgumentGroup) -> None:
    work.add_argument(
        "--luma", choices=("rgb", "plane", "gray"), default="rgb", help="Y from RGB as the scripts; the video's; gray"
    )
    work.add_argument(
        "--version", choices=("v6", "v7", "v7.3"), default="v6", help="of the MAT-files with crops (v6: read in place)"
    )
    work.add_argument("--no-pictures", action="store_true", help="no contact sheets and traces")
    work.add_argument("--jobs", type=at_least(1), default=1, metavar="N", help="recordings at a time (1)")
    work.add_argument("--backend", choices=_BACKENDS, default="processes", help="what does the --jobs (processes)")
    work.add_argument("--cluster", metavar="ADDRESS", help="of the Dask scheduler, for --backend dask: tcp://host:8786")
    work.add_argument("--fresh", action="store_true", help="make everything again")
    work.add_argument("--json", action="store_true", help="results as JSON on stdout, progress on stderr")


def _prepare(args: argparse.Namespace) -> int:
    from lq_emotion.crops.boxes import BoxSettings
    from lq_emotion.crops.prepare import prepare, table
    from lq_emotion.crops.recording import Settings
    from lq_emotion.datasets.avec.layout import dimension_root

    say = teller(args)
    chosen = {name: getattr(args, name) for name in ("every", "smooth", "hold")}
    settings = Settings(
        scales=tuple(args.scales),
        dimension=args.dimension,
        labels=args.labels,
        delay=args.delay,
        smallest=args.smallest,
        version=f"-{args.version}",
        luma=args.luma,
        boxes=BoxSettings(**{name: value for name, value in chosen.items() if value is not None}),
        pictures=not args.no_pictures,
    )
    jobs = args.jobs if args.backend == "processes" else None
    with _workers(args):
        outcomes = prepare(
            args.recordings, dimension_root(args.out, args.dimension), settings, layout=args.layout, names=args.names,
            partitions=partitions_of(args), boxes=args.boxes, jobs=jobs, fresh=args.fresh, say=say,
        )  # fmt: skip
    if args.json:
        print(json.dumps({"recordings": [asdict(outcome) for outcome in outcomes]}, indent=2))
    else:
        print(f"\n{table(outcomes)}")
    failed = [outcome.name for outcome in outcomes if outcome.status == "failed"]
    if failed:
        sys.stderr.write(f"lq-emotion: error: {len(failed)} of {len(outcomes)} failed: {', '.join(failed)}\n")
    return 1 if failed else 0


@contextlib.contextmanager
def _workers(args: argparse.Namespace) -> Iterator[None]:
    import joblib

    from caffe_compat.errors import DataError

    if args.backend == "processes":
        yield
        return
    if args.backend == "threading":
        with joblib.parallel_config(backend="threading", n_jobs=args.jobs):
            yield
        return
    if args.cluster is None:
        raise DataError("is missing: where the scheduler listens", field="cluster", hint="--cluster tcp://host:8786")
    try:
        from distributed import Client
    except ImportError:
        raise DataError("needs the package distributed", field="backend", value="dask") from None
    try:
        client = Client(args.cluster, timeout=10)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise DataError(f"no scheduler answers: {error}", field="cluster", value=args.cluster) from None
    with client, joblib.parallel_config(backend="dask"):
        yield
