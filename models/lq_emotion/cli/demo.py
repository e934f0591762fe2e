"""``lq-emotion demo``: a paper's experiment in a few minutes, on people who are drawn for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lq_emotion.cli.command import Command
from lq_emotion.common.document import Column, Table, number, row
from lq_emotion.common.plain_text import table_lines
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, option

if TYPE_CHECKING:
    from lq_emotion.studies.cloud_robotics.results import ClipResult, CloudResults
    from lq_emotion.studies.robust_lq.demo import DemoResults, Scores

_PHOTOGRAPH = "grace_hopper.jpg"  # from matplotlib's sample data: a portrait by the US Navy, public domain
_MODEL, _DETECTOR = "mini-xception", "mtcnn"


@dataclass(frozen=True, kw_only=True)
class DemoSettings(Settings):
    """Settings of ``demo``."""

    study: Literal["robust-lq", "cloud-robotics"] = option(
        "robust-lq",
        "robust-lq: HR and Joint-OA on faces of high and low resolution, super-resolution, coded video, and how far to "
        "trust an estimate; cloud-robotics: emotions of images, and of clips in nine qualities by mean, mode and LSTM",
    )
    out: Path | None = option(None, "output folder (default demo_out, or cloud_demo_out)", metavar="FOLDER")
    seed: int = option(0, "random seed of the people and of the trainings", least=0)


def _demo(settings: DemoSettings, say: Say) -> DemoResults | CloudResults:
    from lq_emotion.report.build import report_on

    out = _folder(settings)
    results: DemoResults | CloudResults
    if settings.study == "robust-lq":
        from lq_emotion.studies.robust_lq.demo import run_demo

        results = run_demo(out, seed=settings.seed, say=say)
        say(_photograph(out / "predict", say))
    else:
        from lq_emotion.studies.cloud_robotics.demo import run_demo as run_cloud_demo

        results = run_cloud_demo(out, seed=settings.seed, say=say)
    report_on(out)
    return results


def _folder(settings: DemoSettings) -> Path:
    default = "demo_out" if settings.study == "robust-lq" else "cloud_demo_out"
    return (settings.out or Path(default)).resolve()


def _show(results: DemoResults | CloudResults, settings: DemoSettings) -> None:
    from lq_emotion.studies.robust_lq.demo import DemoResults

    out = _folder(settings)
    print()
    files = [out / "report" / "report.html"]
    if isinstance(results, DemoResults):
        files += [out / "rd" / "rd_x264.png", results.videos[0].page]
        summary = lines(results)
    else:
        summary = cloud_lines(results)
    for line in summary:
        print(line)
    print("\nFiles to look at:")
    for path in files:
        print(f"  {path}")


def cloud_lines(results: CloudResults) -> Iterator[str]:
    """Yield what the demo of the second paper found, for a terminal."""
    from lq_emotion.studies.cloud_robotics.paper import Aggregation
    from lq_emotion.studies.cloud_robotics.plan import ALL

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
    yield "Recipe: the demo's own, for small nets in place of ResNet-50 (studies/cloud_robotics/plan.py)."


def _accuracy(result: ClipResult | None) -> float | None:
    return None if result is None else result.accuracy


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
    yield "Recipe: the demo's own, not the authors' (recipes/demo.toml); `lq-emotion study run robust-lq` has theirs."


def _table(scores: Scores) -> Iterator[str]:
    names = dict.fromkeys(name for by_name in scores.values() for name in by_name)
    rows = (row(net, *(number(by_name.get(name)) for name in names)) for net, by_name in scores.items())
    return table_lines(Table("", (Column("", number=False), *map(Column, names)), tuple(rows)))


def _photograph(out: Path, say: Say) -> str:
    """Predict a photograph with a published net, if it is installed; return a line about it."""
    from matplotlib import cbook

    from lq_emotion.nets.known.model import find_model
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


COMMAND = Command(DemoSettings, _demo, _show)
