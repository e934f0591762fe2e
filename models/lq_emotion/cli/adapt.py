"""``lq-emotion adapt``: fine-tune a net on the user's own clips."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lq_emotion.cli.options import add_clip_options, add_clips, at_least, clips_of, number_from, teller


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "fine-tune a net on your own clips: first its last layer alone, then all layers"
    adapt = commands.add_parser("adapt", help=text, description=text, allow_abbrev=False)
    adapt.add_argument("model", metavar="MODEL", help="name of a model (lq-emotion models list), or a caffemodel")
    add_clips(adapt, required=True)
    adapt.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for the weights and the report"
    )
    add_clip_options(adapt)
    _add_model(adapt.add_argument_group("model, for weights that are not recognised"))
    faces = adapt.add_argument_group("faces")
    text = "finds the faces (default mtcnn, as in predict, so that both cut them out alike)"
    faces.add_argument("--detector", choices=("mtcnn", "haar"), default="mtcnn", help=text)
    text = "frames taken from a second of video (default 2)"
    faces.add_argument("--fps", type=_positive, default=2.0, metavar="N", help=text)
    _add_training(adapt.add_argument_group("training"))
    adapt.set_defaults(run=_adapt)


def _add_model(model: argparse._ArgumentGroup) -> None:
    model.add_argument("--definition", type=Path, metavar="PROTOTXT", help="deploy definition")
    model.add_argument("--preprocess", type=Path, metavar="JSON", help="preprocessing (docs/preprocessing.md)")
    model.add_argument("--labels", type=Path, metavar="FILE", help="labels or dimensions (docs/models.md)")
    model.add_argument("--home", type=Path, metavar="DIR", help="folder of installed models")


def _add_training(training: argparse._ArgumentGroup) -> None:
    text = "iterations, half of them for the last layer alone (default 2000)"
    training.add_argument("--iterations", type=at_least(2), default=2000, metavar="N", help=text)
    training.add_argument(
        "--batch", type=at_least(1), default=32, metavar="N", help="faces of an iteration (default 32)"
    )
    text = "rate of the last layer, by Adam; a tenth of it for all layers (default 0.001)"
    training.add_argument("--base-lr", type=_positive, default=0.001, metavar="X", help=text)
    training.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="random seed (default 0)")
    training.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default auto)")
    training.add_argument("--fresh", action="store_true", help="discard earlier results instead of continuing")
    training.add_argument("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")


def _positive(text: str) -> float:
    value = number_from(0)(text)
    if not value:
        raise argparse.ArgumentTypeError("expected a number above 0, got 0")
    return value


def _adapt(args: argparse.Namespace) -> int:
    from caffe_compat.formats.regular_file import require_other_file
    from lq_emotion.common.devices import choose_device
    from lq_emotion.nets.known.detectors import load_detector
    from lq_emotion.nets.known.loading import find_description
    from lq_emotion.training.adapt.adaptation import Adaptation, Schedule

    table = clips_of(args)
    assert table is not None  # --clips is required
    weights, model = find_description(
        args.model, definition=args.definition, preprocess=args.preprocess, labels=args.labels, home=args.home,
        any_outputs=True,
    )  # fmt: skip
    require_other_file(args.out / f"{args.out.name}.caffemodel", weights)
    results = Adaptation(
        weights,
        model,
        table,
        args.out,
        load_detector(args.detector, home=args.home, device=choose_device(args.device)),
        schedule=Schedule(args.iterations, args.batch, args.base_lr, args.seed),
        rate=args.fps,
        device=args.device,
        settings={"detector": args.detector},
        fresh=args.fresh,
        say=teller(args),
    ).run()
    if args.json:
        print(json.dumps(results.to_json(), indent=2))
    else:
        print(f"\n{(args.out / 'report.md').read_text(encoding='utf-8')}\n  {args.out / results.weights}")
    return 0
