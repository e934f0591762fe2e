"""A study of a paper: settings, stages, and the results that are made of what the stages leave.

Finished stages are skipped, and a study that was killed goes on where it stopped. A stage logs to ROOT/logs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from lq_emotion.common.folders import locked, require_folder
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, absolute, cluster_option, device_option, option
from lq_emotion.workflow.stages import Ledger, Stage, perform

LEDGER = "ledger.json"


@dataclass(frozen=True, kw_only=True)
class StudySettings(Settings):
    """Settings that every study has."""

    out: Path = option(help="folder for all results", metavar="ROOT")
    seed: int = option(0, "random seed", least=0)
    jobs: int = option(1, "stages in parallel", least=1)
    cluster: str | None = cluster_option()
    threads: int = option(2, "threads per stage; results differ in the last bits between thread counts", least=1)
    device: str = device_option()
    dry_run: bool = option(False, "list the stages, whether they are done, and how long the others will take")

    @property
    def root(self) -> Path:
        """The folder with the ledger, the logs and the lock of the study."""
        return self.out


SettingsT = TypeVar("SettingsT", bound=StudySettings)
ResultsT = TypeVar("ResultsT")


@dataclass(frozen=True)
class Study(Generic[SettingsT, ResultsT]):
    """A study.

    Attributes
    ----------
    name : name of the study as users type it; the lock of ROOT and errors use it.
    stages : checks the settings, and returns all stages, each after those it depends on; ``run`` of a stage takes what
        adds a line to its log.
    results : reads what the stages left, writes results, tables and figures, and returns the results. It takes the
        settings and the seconds that each stage took, None for one that was not timed.
    writes : returns the files that `results` writes. A study refuses to replace files that none of its runs wrote.
    estimate : tells how long the stages that are not done will take.
    prepare : completes settings as a user gives them, from what is below ROOT.
    adopts : stages may replace files of their names that other commands wrote.
    """

    name: str
    stages: Callable[[SettingsT], list[Stage[Any]]]
    results: Callable[[SettingsT, Mapping[str, float | None]], ResultsT]
    writes: Callable[[SettingsT], Iterable[Path]] = lambda _settings: ()
    estimate: Callable[[SettingsT, list[Stage[Any]], Say], None] = lambda _settings, _stages, _say: None
    prepare: Callable[[SettingsT], SettingsT] = lambda settings: settings
    adopts: bool = False

    def todo(self, settings: SettingsT) -> list[tuple[Stage[Any], bool]]:
        """Return every stage, and whether it is done."""
        settings = self.prepare(absolute(settings))
        ledger = _ledger(settings)
        return [(stage, ledger.is_done(stage)) for stage in self.stages(settings)]

    def dry_run(self, settings: SettingsT, say: Say = print) -> None:
        """Print every stage, whether it is done, and how long the others will take."""
        todo = self.todo(settings)
        for stage, done in todo:
            say(f"{'done' if done else 'to do':6} {stage.name}")
        self.estimate(absolute(settings), [stage for stage, done in todo if not done], say)

    def run(self, settings: SettingsT, say: Say = print) -> ResultsT:
        """Run what is missing, and return the results.

        Where a stage failed, what does not need it is done, and the same command goes on from there. Files of the
        study's names that no run wrote, and a folder in which another process works, are refused.
        """
        settings = self.prepare(absolute(settings))
        require_folder(settings.root)
        stages = self.stages(settings)
        maker, results = f"study {self.name}", list(self.writes(settings))
        with locked(settings.root, maker):
            ledger = _ledger(settings)
            ledger.require_own(results, maker)
            ledger.claim([] if self.adopts else [path for stage in stages for path in stage.writes], maker)
            self.estimate(settings, [stage for stage in stages if not ledger.is_done(stage)], say)
            logs = settings.root / "logs"
            logged = [
                replace(stage, run=partial(_run, stage.run, stage.name, logs, settings.threads, stage.writes))
                for stage in stages
            ]
            perform(logged, ledger, jobs=settings.jobs, cluster=settings.cluster, say=say)
            ledger.claim(results, maker)
            return self.results(settings, {stage.name: ledger.seconds(stage.name) for stage in stages})


def _ledger(settings: StudySettings) -> Ledger:
    return Ledger(settings.root / LEDGER)


def _run(run: Callable[[Say], None], name: str, logs: Path, threads: int, writes: tuple[Path, ...]) -> None:
    """Run a stage: with its threads, its log, and the folders of the files that it writes."""
    import torch

    torch.set_num_threads(threads)
    for folder in {logs, *(path.parent for path in writes)}:
        folder.mkdir(parents=True, exist_ok=True)
    with (logs / f"{name.replace(' ', '_')}.log").open("a", encoding="utf-8", buffering=1) as file:
        run(lambda line: print(line, file=file))
