"""The demo of the second paper: its study in small on faces that are drawn for it.

Folders below ROOT: ``data/ferplus``, ``data/ravdess``, ``bases`` (small nets in place of the published ones), and those
of a study (see `stages`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lq_emotion.common.progress import Say
from lq_emotion.datasets.synthetic.ferplus_tree import FerTreeSettings, make_ferplus
from lq_emotion.datasets.synthetic.ravdess_tree import RavdessTreeSettings, make_ravdess
from lq_emotion.studies.cloud_robotics.plan import Choices, CloudPlan, Part
from lq_emotion.studies.cloud_robotics.results import CloudResults
from lq_emotion.studies.cloud_robotics.stand_ins import DRAWINGS, make_stand_in
from lq_emotion.studies.cloud_robotics.study import STUDY
from lq_emotion.workflow.stages import Stage
from lq_emotion.workflow.study import Study


@dataclass(frozen=True)
class CloudDemoSize:
    """Sizes of the data and trainings of the demo."""

    images: int = 2000
    """In the form of FER+."""
    actors: int = 20
    """In the form of RAVDESS; an actor speaks each statement 15 times."""
    statements: Literal[1, 2] = 1
    seconds: float = 1.2
    """Length of a clip."""
    side: int = 40
    """Height and width of what the small nets take."""
    iterations: int = 300
    """Of the small nets' first training."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Of the preset "demo"."""


def demo_plan(out: Path, size: CloudDemoSize, seed: int = 0) -> CloudPlan:
    """Return the settings of the study; boxes of drawn faces are not enlarged, for FER+'s drawn images are not."""
    return CloudPlan(
        out=out,
        ferplus=out / "data" / "ferplus",
        ravdess=out / "data" / "ravdess",
        weights={base: str(out / "bases" / f"{base}.caffemodel") for base in DRAWINGS},
        parts=(Part.IMAGES, Part.CLIPS),
        preset="demo",
        changes=size.changes,
        choices=Choices(grow=0.0),
        trials=0,
        seed=seed,
        jobs=2,
        threads=1,
        device="cpu",
    )


def run_demo(out: Path, size: CloudDemoSize | None = None, seed: int = 0, say: Say = print) -> CloudResults:
    """Draw both data sets, train small nets in place of the published ones, run the study, and return its results."""
    size = size or CloudDemoSize()
    plan = demo_plan(out, size, seed)
    assert plan.ravdess is not None
    make_ferplus(FerTreeSettings(out=plan.ferplus, images=size.images, seed=seed), say)
    clips = RavdessTreeSettings(
        out=plan.ravdess, actors=size.actors, size=(320, 180), seconds=size.seconds, statements=size.statements,
        repetitions=1, seed=seed, jobs=plan.jobs,
    )  # fmt: skip
    make_ravdess(clips, say)
    bases = Study("bases", partial(_bases, size), lambda _plan, _seconds: None)
    bases.run(plan, say)
    return STUDY.run(plan, say)


def _bases(size: CloudDemoSize, plan: CloudPlan) -> list[Stage[None]]:
    """Return the stages that train a small net in place of each published one."""
    settings = {"size": size.side, "iterations": size.iterations, "seed": plan.seed}
    stages: list[Stage[None]] = []
    for base, file in plan.weights.items():
        weights = Path(file)
        writes = (weights, weights.with_suffix(".prototxt"), weights.with_suffix(".preprocess.json"))
        stages.append(Stage(f"base {base}", partial(_base, base, weights, settings), settings, (), writes))
    return stages


def _base(base: str, weights: Path, settings: Mapping[str, int], say: Say) -> None:
    make_stand_in(base, weights, **settings, threads=1, say=say)
