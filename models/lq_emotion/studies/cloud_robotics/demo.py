"""The demo of the second paper: its study in small on faces that are drawn for it.

Folders below ROOT: ``data/ferplus``, ``data/ravdess``, ``bases`` (small nets in place of the published ones), and those
of a study (see `stages`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lq_emotion.datasets.synthetic.ferplus_tree import FerTreeSettings, make_ferplus
from lq_emotion.datasets.synthetic.ravdess_tree import RavdessTreeSettings, make_ravdess
from lq_emotion.studies.cloud_robotics.plan import Choices, CloudPlan, Part
from lq_emotion.studies.cloud_robotics.results import CloudResults
from lq_emotion.studies.cloud_robotics.stand_ins import DRAWINGS, make_stand_in
from lq_emotion.studies.cloud_robotics.study import CloudStudy
from lq_emotion.workflow.logs import stage_log
from lq_emotion.workflow.stages import Ledger, Stage, perform

Say = Callable[[str], None]
_JOBS = 2  # processes of one thread each


@dataclass(frozen=True)
class CloudDemoSize:
    """How much the demo draws and trains.

    Attributes
    ----------
    images : in the form of FER+.
    actors, statements, seconds : of the clips in the form of RAVDESS; an actor says each statement 15 times.
    side : height and width of what the small nets take.
    iterations : of their first training.
    changes : of the preset "demo".
    """

    images: int = 2000
    actors: int = 20
    statements: int = 1
    seconds: float = 1.2
    side: int = 40
    iterations: int = 300
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class CloudDemo:
    """The demo; a run that was interrupted continues.

    Attributes
    ----------
    out : ROOT.
    size : see `CloudDemoSize`.
    seed : of the drawings and of the trainings.
    say : called with each line for the user.
    """

    out: Path
    size: CloudDemoSize = field(default_factory=CloudDemoSize)
    seed: int = 0
    say: Say = print

    def run(self) -> CloudResults:
        """Do what is missing, and return what ROOT/study.json holds.

        Raises
        ------
        CaffeCompatError, OSError
        """
        plan, size = self.plan, self.size
        assert plan.ravdess is not None
        make_ferplus(plan.ferplus, FerTreeSettings(size.images, seed=self.seed), say=self.say)
        clips = RavdessTreeSettings(size.actors, 320, 180, size.seconds, size.statements, 1, self.seed)
        make_ravdess(plan.ravdess, clips, jobs=_JOBS, say=self.say)
        bases = [self._base(base, Path(weights)) for base, weights in plan.weights.items()]
        perform(bases, Ledger(self.out / "bases.json"), jobs=_JOBS, say=self.say)
        return CloudStudy(plan, jobs=_JOBS, say=self.say).run()

    @property
    def plan(self) -> CloudPlan:
        """The plan of the study; the boxes of drawn faces are not enlarged, for FER+'s drawn images are not either."""
        return CloudPlan(
            self.out,
            self.out / "data" / "ferplus",
            self.out / "data" / "ravdess",
            {base: str(self.out / "bases" / f"{base}.caffemodel") for base in DRAWINGS},
            parts=(Part.IMAGES, Part.CLIPS),
            preset="demo",
            changes=self.size.changes,
            choices=Choices(grow=0.0),
            seed=self.seed,
            threads=1,
            device="cpu",
        )

    def _base(self, base: str, weights: Path) -> Stage[None]:
        """Return the stage that trains a small net in place of a published one."""
        settings = {"size": self.size.side, "iterations": self.size.iterations, "seed": self.seed}
        writes = (weights, weights.with_suffix(".prototxt"), weights.with_suffix(".preprocess.json"))
        run = partial(_make_base, base, weights, self.plan.logs, settings)
        return Stage(f"base {base}", run, settings, (), writes)


def _make_base(base: str, weights: Path, logs: Path, settings: Mapping[str, int]) -> None:
    with stage_log(logs, f"base {base}") as say:
        make_stand_in(base, weights, **settings, threads=1, say=say)
