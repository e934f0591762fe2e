"""``lq-emotion demo``: a paper's experiment in a few minutes, on people who are drawn for it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from caffe_compat.errors import DataError
from lq_emotion.cli.options import at_least, teller

if TYPE_CHECKING:
    from lq_emotion.studies.cloud_robotics.results import ClipResult, CloudResults
    from lq_emotion.studies.robust_lq.demo import DemoResults, Scores

_PHOTOGRAPH = "grace_hopper.jpg"  # from matplotlib's sample data: a portrait by the US Navy, public domain
_MODEL, _DETECTOR = "mini-xception", "mtcnn"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = (
        "run a paper's experiment in small on synthetic recordings. robust-lq: HR and Joint-OA on faces of high and "
        "low resolution, super-resolution, coded video, and how far to trust an estimate. cloud-robotics: emotions of "
        "images, and of clips in nine qualities by mean, mode and LSTM"
    )
    demo = commands.add_parser("demo", help=text, description=text, allow_abbrev=False)
    option = demo.add_argument
    text = "robust-lq or cloud-robotics (default robust-lq)"
    option("--study", choices=("robust-lq", "cloud-robotics"), default="robust-lq", metavar="STUDY", help=text)
    text = "output folder (default demo_out, or cloud_demo_out)"
    option("--out", type=Path, metavar="FOLDER", help=text)
    text = "random seed of the people and of the trainings (default 0)"
    option("--seed", type=at_least(0), default=0, metavar="N", help=text)
    text = "robust-lq: iterations per net (default: those of the recipe, 300 to 450)"
    option("--iterations", type=at_least(1), metavar="N", help=text)
    text = "robust-lq: threads per stage; results differ in the last bits between thread counts (default 2)"
    option("--threads", type=at_least(1), metavar="N", help=text)
    option("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")
    demo.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> int:
    if args.study == "robust-lq":
        return _robust_lq(args)
    for name in ("iterations", "threads"):
        if getattr(args, name) is not None:
            problem, hint = "is for robust-lq", "leave it out"
            raise DataError(problem, code="conflict", field=f"--{name}", value=getattr(args, name), hint=hint)
    return _cloud_robotics(args)


def _cloud_robotics(args: argparse.Namespace) -> int:
    from lq_emotion.report.build import make_report, write_report
    from lq_emotion.studies.cloud_robotics.demo import CloudDemo

    began, out = time.monotonic(), (args.out or Path("cloud_demo_out")).resolve()
    results = CloudDemo(out, seed=args.seed, say=teller(args)).run()
    page = out / "report" / "report.html"
    write_report(make_report(out), page, page.with_suffix(".md"))
    if args.json:
        print(json.dumps(results.to_json(), indent=2))
        return 0
    print()
    for line in cloud_lines(results):
        print(line)
    print(f"\n{time.monotonic() - began:.0f} s. The tables beside the paper's, and the figures:\n  {page}")
    return 0


def cloud_lines(results: CloudResults) -> Iterator[str]:
    """Yield what the demo of the second paper found, for a terminal."""
    from lq_emotion.studies.cloud_robotics.published import Aggregation
    from lq_emotion.studies.cloud_robotics.results import ALL

    yield "Accuracy (1 is perfect) on drawn people whom no net saw in training. It says nothing about people."
    yield "\nImages, seven emotions; by what the net had learnt before, people or shapes:"
    yield from _table({image.base: {"accuracy": image.scores.accuracy} for image in results.images})
    yield "\nClips, eight emotions; size and frames per second of the clips that are tested:"
    names = [version.name for version in results.versions]
    scores: dict[str, dict[str, float | None]] = {
        str(method): {name: _accuracy(results.each(method, name)) for name in names} for method in Aggregation
    }
    scores["LSTM, all"] = {name: _accuracy(results.cell(Aggregation.LSTM, name, ALL)) for name in names}
    yield from _table(scores)
    yield "LSTM: trained on the clips of that column. LSTM, all: on those of all columns."
    yield "Recipe: the demo's own, for small nets in place of ResNet-50 (studies/cloud_robotics/recipes.py)."


def _accuracy(result: ClipResult | None) -> float | None:
    return None if result is None else result.accuracy


def _robust_lq(args: argparse.Namespace) -> int:
    from lq_emotion.report.build import make_report, write_report
    from lq_emotion.studies.robust_lq.demo import Demo, DemoSize

    began, say, out = time.monotonic(), teller(args), (args.out or Path("demo_out")).resolve()
    results = Demo(out, DemoSize(iterations=args.iterations), args.seed, args.threads or 2, say).run()
    photograph = _photograph(out / "predict", say)
    page = out / "report" / "report.html"
    write_report(make_report(out), page, page.with_suffix(".md"))
    if args.json:
        print(json.dumps(results.to_json(), indent=2))
        return 0
    print()
    for line in lines(results):
        print(line)
    print(photograph)
    print(f"\n{time.monotonic() - began:.0f} s. Three files to look at:")
    for path in (page, out / "rd" / "rd_x264.png", results.videos[0].page):
        print(f"  {path}")
    return 0


def lines(results: DemoResults) -> Iterator[str]:
    """Yield what the demo found, for a terminal."""
    yield "CCC of valence (1 is perfect) on drawn people whom no net saw in training. It says nothing about people."
    yield from _table(results.ccc)
    sr = results.sr
    yield (
        f"Super-resolution at s = {sr.factor}: {sr.sr_fcn:.2f} dB, bicubic {sr.bicubic:.2f} dB "
        f"({sr.gain:+.2f}), {sr.faces} faces."
    )
    yield "\nFaces at s = 3, coded by x264 (Figure 4 in small), CCC:"
    yield from _table(results.coded)
    yield (
        f"Joint-OA, calibrated: {results.level:.0%} of its errors are within {results.half_width:.2f} on faces as "
        "recorded."
    )
    for video in results.videos:
        yield f"  {video.name}: {video.trusted} of {video.faces} estimates are trusted"
    yield "Recipe: the demo's own, not the authors' (recipes/demo.toml); `lq-emotion study robust-lq` has theirs."


def _table(scores: Scores) -> Iterator[str]:
    columns = list(dict.fromkeys(name for row in scores.values() for name in row))
    yield f"{'':10}" + "".join(f"{name:>8}" for name in columns)
    for net, row in scores.items():
        cells = ("–" if (value := row.get(name)) is None else f"{value:.3f}" for name in columns)
        yield f"{net:10}" + "".join(f"{cell:>8}" for cell in cells)


def _photograph(out: Path, say: Callable[[str], None]) -> str:
    """Predict a photograph with a published net, if it is installed; return a line about it."""
    from matplotlib import cbook

    from lq_emotion.nets.known.registry import find_model
    from lq_emotion.nets.known.store import Store
    from lq_emotion.predict.run import predict
    from lq_emotion.predict.settings import PredictSettings
    from lq_emotion.video.sources import find_sources

    store = Store()
    if missing := [name for name in (_MODEL, _DETECTOR) if not store.has(find_model(name))]:
        return f"A photograph: skipped, not installed: lq-emotion models get {' '.join(missing)}"
    source = find_sources([str(cbook.get_sample_data(_PHOTOGRAPH, asfileobj=False))])
    settings = PredictSettings(models=(_MODEL,), detector=_DETECTOR, device="cpu", overlay=True)
    (outcome,) = predict(source, settings, out, say=say)
    return f"A photograph ({_PHOTOGRAPH}), by {_MODEL}: {outcome.error or outcome.files[-1]}"
