"""``lq-emotion study cloud-robotics``: the second paper's study, from FER+ and RAVDESS to a report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lq_emotion.cli.options import at_least, number_from, teller

if TYPE_CHECKING:
    from lq_emotion.studies.cloud_robotics.plan import CloudPlan

_PARTS = ("images", "clips", "link")
_PRESETS = ("paper", "small", "demo")
_RULES = ("more-than-5", "microsoft", "at-least-5", "plurality")
_QPS = (24, 30, 36, 42)


def add_cloud_robotics(studies: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the study's parser."""
    text = "Facial Expression Recognition for Cloud Robotics (Maclean 2021)"
    parser = studies.add_parser("cloud-robotics", help=text, description=text, allow_abbrev=False)
    option = parser.add_argument
    text = "FER+: fer2013new.csv with fer2013.csv, or FER2013Train, FER2013Valid and FER2013Test"
    option("--ferplus", type=Path, required=True, metavar="DIR", help=text)
    option("--ravdess", type=Path, metavar="DIR", help="RAVDESS: folders Actor_01, Actor_02, ...")
    text = (
        "nets to fine-tune, such as vggface2=FILE imagenet=FILE: a caffemodel of a published ResNet-50, another with "
        "NAME.prototxt and NAME.preprocess.json beside it, or the name of an installed model"
    )
    option("--weights", nargs="+", type=_base, required=True, metavar="BASE=FILE", help=text)
    option("--out", type=Path, required=True, metavar="ROOT", help="folder for all results")
    text = (
        "images: Table 1 and Figure 2; clips: the tables of RAVDESS, Figure 3 and the transfer matrix; link: accuracy "
        "on coded video, for `lq-emotion link` (default: all). Each needs the ones before, which are run where missing"
    )
    option("--only", nargs="+", choices=_PARTS, default=_PARTS, metavar="PART", help=text)
    text = "lengths, rates and sizes: paper, or small and demo for small nets and videos (default paper)"
    option("--preset", choices=_PRESETS, default="paper", help=text)
    text = "change numbers of the preset: batch=16 sizes=[[1280,720],[480,360],[256,144]]; their names: docs"
    option("--set", nargs="+", action="extend", type=_change, default=[], metavar="NAME=VALUE", help=text)
    text = "trials of a Bayesian search for the rates of each net; 0 takes those of the preset (default 25)"
    option("--trials", type=at_least(0), default=25, metavar="N", help=text)
    group = parser.add_argument_group("what the text leaves open")
    option = group.add_argument
    text = "votes that give an image its class (default more-than-5, which fits the paper's accuracies)"
    option("--rule", choices=_RULES, default="more-than-5", help=text)
    option("--classes", type=int, choices=(7, 8), default=7, help="of FER+; 8 with contempt (default 7)")
    option("--split", choices=("official", "random"), default="official", help="of FER+ (default official)")
    text = "30 frames that the LSTM sees: the first, those in the middle, or from the whole clip (default centre)"
    option("--window", choices=("start", "centre", "uniform"), default="centre", help=text)
    text = "enlarge the box of a face by this part of its side (default 0.3, as VGGFace2's authors)"
    option("--grow", type=number_from(0), default=0.3, metavar="X", help=text)
    text = "speech, song or both (default speech)"
    option("--channels", nargs="+", choices=("speech", "song"), default=("speech",), help=text)
    text = "folds of actors: one is tested, the next one chooses among snapshots (default 6)"
    option("--folds", type=at_least(2), default=6, metavar="N", help=text)
    option("--fold", type=at_least(0), default=0, metavar="K", help="the fold that is tested, from 0 (default 0)")
    group = parser.add_argument_group("the part link")
    option = group.add_argument
    text = "quantisers (default 24 30 36 42)"
    option("--qps", nargs="+", type=at_least(0), default=_QPS, metavar="QP", help=text)
    option("--codec", default="x264", metavar="NAME", help="x264, x265, vp9, av1, mpeg4 (default x264)")
    option = parser.add_argument
    option("--seed", type=at_least(0), default=0, metavar="N", help="random seed (default 0)")
    option("--jobs", type=at_least(1), default=1, metavar="N", help="stages in parallel (default 1)")
    option("--cluster", metavar="ADDRESS", help="run the stages on a Dask cluster; its scheduler: tcp://host:8786")
    text = "threads per stage; results differ in the last bits between thread counts (default 2)"
    option("--threads", type=at_least(1), default=2, metavar="N", help=text)
    option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default auto)")
    option("--dry-run", action="store_true", help="list the stages, and whether they are done")
    option("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")
    parser.set_defaults(run=_run)


def _base(text: str) -> tuple[str, str]:
    name, equals, weights = text.partition("=")
    if not (name and equals and weights):
        raise argparse.ArgumentTypeError(f"{text!r} is not BASE=FILE, such as vggface2=resnet50_ft.caffemodel")
    return name, weights


def _change(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as batch=16") from None


def _plan(args: argparse.Namespace) -> CloudPlan:
    from lq_emotion.datasets.ferplus.votes import Rule
    from lq_emotion.datasets.ravdess.clips import Channel
    from lq_emotion.datasets.ravdess.windows import Window
    from lq_emotion.studies.cloud_robotics.plan import Choices, CloudPlan, Part

    choices = Choices(
        rule=Rule(args.rule),
        classes=args.classes,
        split=args.split,
        window=Window(args.window),
        grow=args.grow,
        channels=tuple(Channel(name) for name in dict.fromkeys(args.channels)),
        folds=args.folds,
        fold=args.fold,
    )
    return CloudPlan(
        args.out.resolve(),
        args.ferplus.resolve(),
        args.ravdess.resolve() if args.ravdess else None,
        {name: str(Path(file).resolve()) if Path(file).exists() else file for name, file in args.weights},
        parts=tuple(Part(part) for part in dict.fromkeys(args.only)),
        preset=args.preset,
        changes=dict(args.set),
        choices=choices,
        trials=args.trials,
        qps=tuple(sorted(set(args.qps))),
        codec=args.codec,
        seed=args.seed,
        threads=args.threads,
        device=args.device,
    )


def _run(args: argparse.Namespace) -> int:
    from lq_emotion.report.build import make_report, write_report
    from lq_emotion.studies.cloud_robotics.study import CloudStudy

    study = CloudStudy(_plan(args), jobs=args.jobs, cluster=args.cluster, say=teller(args))
    if args.dry_run:
        for stage, done in study.todo():
            print(f"{'done' if done else 'to do':6} {stage.name}")
        return 0
    results, out = study.run(), study.plan.out
    page, text = out / "report" / "report.html", out / "report" / "report.md"
    write_report(make_report(out), page, text)
    if args.json:
        print(json.dumps(results.to_json(), indent=2))
        return 0
    print((out / "tables.md").read_text(encoding="utf-8"))
    for path in (page, out / "tables.md", out / "link" / "table.json"):
        if path.is_file():
            print(f"  {path}")
    return 0
