"""All checks of a folder of weights, and the result that is signed off.

verify.json::

    {"program": "lq-emotion verify", "format": 1, "date": "2026-01-31T12:00:00+00:00", "versions": {"torch": ..},
     "device": "cpu", "limit": 1e-05, "inputs": {"pictures": [..], "shape": [4, 1, 96, 96], "sha256": ".."},
     "engines": {"opencv": "4.14.0", "caffe": null, "caffe_absent": "ModuleNotFoundError: .."},
     "recordings": null or {"synthetic": true, "crops": ["HQ", "LR3"], "delay": 0.0},
     "against": null or {"file": .., "sha256": ..},
     "files": [{"file": "class/HQ.caffemodel", "bytes": .., "sha256": "..", "kind": "caffemodel",
                "network": "CNN+D", "authors": true, "training": "HR or LR",
                "blobs": [{"layer": "conv1", "index": 0, "shape": [..], "sha256": "..", "largest": .., "rms": ..}, ..],
                "probe": {"blob": "fc5", "inputs": "..", "values": [..]},
                "engines": {"opencv": [{"blob": "conv1", "absolute": .., "relative": .., "largest": .., "at": [..],
                            "agrees": true}, ..], "caffe": null or [..]},
                "scores": [], "problems": [], "remarks": [], "verdict": "passed"}, ..],
     "problems": [], "verdict": "passed", "sha256": ".."}

A blob's hash is of its values as little-endian float32, so that it is the same whatever the format of the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caffe_compat.errors import CaffeCompatError, DataError, FileError, ProblemsError, did_you_mean
from lq_emotion.common.devices import choose_device
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import contents_of
from lq_emotion.common.versions import versions
from lq_emotion.datasets.avec.partitions import Partitions, recordings_in
from lq_emotion.studies.robust_lq.store import Store
from lq_emotion.verify import engines, result_file
from lq_emotion.verify.genuine_caffe import Caffe, find_caffe
from lq_emotion.verify.inputs import Batch, described, fixed_inputs
from lq_emotion.verify.networks import Network, recognise, redefined, training
from lq_emotion.verify.result_file import FAILED, PASSED, Result
from lq_emotion.verify.scoring import ClaimedCell, Scoring, find_crops
from lq_emotion.verify.weights import Held, damages, find_files, read_held, told
from matlab_ports._recordings.labels import read_label_name
from matlab_ports.run_eval import mat_path

Say = Callable[[str], None]
_PROBED = 8
_ELSEWHERE = 10 * engines.LIMIT
"""How far outputs may be from those of another machine: both may be rounded, and sums there nearly cancel."""


@dataclass(frozen=True)
class _Tools:
    """What every file is looked at with."""

    inputs: Batch
    device: torch.device
    caffe: Caffe
    scoring: Scoring | None


@dataclass
class Verify:
    """A verification.

    Attributes
    ----------
    weights : a folder of files of weights, or one file.
    out : where the result goes.
    recordings : ROOT of prepared recordings to score on.
    partitions : of the recordings, see `scores.evaluate`.
    delay : see `verify.scoring.Scoring`.
    cells : file -> cell of Table 1, where a file's name does not tell it.
    against : an earlier result that passed, of the same files; by default what `out` holds, as far as files of the same
        names are concerned.
    fresh : replace what `out` holds without comparing.
    caffe : a Python that has a genuine Caffe; by default this one is asked.
    device : of our engine, see `devices.choose_device`.
    say : takes lines of progress.
    """

    weights: Path
    out: Path
    recordings: Path | None = None
    partitions: Partitions | None = None
    delay: float = 0.0
    cells: Mapping[str, ClaimedCell] = field(default_factory=dict)
    against: Path | None = None
    fresh: bool = False
    caffe: str | None = None
    device: str = "auto"
    say: Say = print

    def run(self) -> Result:
        """Verify, write the result, and return it.

        Raises
        ------
        CaffeCompatError, PortError, OSError
            The command cannot be done at all; nothing is written. What is wrong with a file is in the result.
        """
        files = find_files(self.weights)
        self._require_writable()
        before = self._before()
        self._check_cells([name for name, _ in files])
        engines.opencv()
        tools = _Tools(
            inputs=fixed_inputs(),
            device=choose_device(self.device),
            caffe=find_caffe(self.caffe),
            scoring=self._scoring(),
        )
        setting = self._setting(tools)
        results = []
        for name, opener in files:
            self.say(f"{name}: begins")
            with ExitStack() as stack:  # what an archive holds lies in a file for as long
                results.append(self._file(name, partial(stack.enter_context, opener()), tools))
        _remark_copies(results)
        problems = self._compare(results, before)
        for one in results:
            one["verdict"] = FAILED if one["problems"] else PASSED
        failed = bool(problems) or any(one["problems"] for one in results)
        against = before and {"file": (self.against or self.out).name, "sha256": before["sha256"]}
        content: Result = {**setting, "against": against, "files": results, "problems": problems}
        content["verdict"] = FAILED if failed else PASSED
        content["sha256"] = result_file.digest(content)
        if not (failed and before and self.kept):
            result_file.write_signed(content, self.out)
        return content

    def _scoring(self) -> Scoring | None:
        if not self.recordings:
            return None
        crops = find_crops(self.recordings, self.partitions)
        for folder in crops.values():  # refused before the first file is read
            for name in recordings_in(folder, "dev", self.partitions):
                if (label := read_label_name(mat_path(folder, name))) != "valence":
                    problem = "nets are scored on valence, as in Table 1"
                    raise DataError(problem, code="mismatch", file=folder, field="labels", value=label)
        return Scoring(crops, self.cells, self.partitions, self.delay, self.device)

    def _setting(self, tools: _Tools) -> Result:
        caffe, scoring = tools.caffe, tools.scoring
        recordings = None
        if scoring and self.recordings:
            crops = [folder.name for folder in scoring.crops.values()]
            recordings = {"synthetic": Store(self.recordings).synthetic, "crops": crops, "delay": self.delay}
        return {
            "program": result_file.PROGRAM,
            "format": result_file.FORMAT,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "device": str(tools.device),
            "limit": engines.LIMIT,
            "inputs": described(tools.inputs),
            "engines": {
                "opencv": engines.opencv().__version__,
                "caffe": caffe.version,
                "caffe_absent": caffe.reason or None,
            },
            "recordings": recordings,
        }

    def _check_cells(self, names: list[str]) -> None:
        for name in self.cells:
            if name not in names:
                hint = did_you_mean(name, names) or f"there are {', '.join(names[:5])}"
                raise DataError("is not among the files", code="name-unknown", field="--cell", value=name, hint=hint)

    def _require_writable(self) -> None:
        """Refuse, before all work, a place where nothing can be written."""
        if self.out.is_dir():
            raise FileError("this is a folder; a file is expected", code="wrong-type", file=self.out, field="--out")
        if not self.out.absolute().parent.is_dir():
            raise FileError("no such folder", code="file-missing", file=self.out.parent, field="--out")
        if not os.access(self.out.absolute().parent, os.W_OK):
            folder = self.out.absolute().parent
            raise FileError("cannot be written to", code="file-unwritable", file=folder, field="--out")

    def _before(self) -> Result | None:
        if self.against:
            return result_file.earlier(self.against)
        return None if self.fresh else result_file.replaced(self.out)

    def _compare(self, results: list[Result], before: Result | None) -> list[str]:
        if before is None:
            return []
        with contents_of(self.against or self.out):
            then = before["files"]
            if not self.against:
                names = {one["file"] for one in results}
                then = [one for one in then if one["file"] in names]
            return result_file.compare(results, then, limit=_ELSEWHERE)

    @property
    def kept(self) -> bool:
        """Whether a result that failed leaves `out` alone: it holds what was compared with, and passed."""
        return not self.against or (self.out.exists() and self.out.samefile(self.against))

    def _file(self, name: str, opened: Callable[[], Path], tools: _Tools) -> Result:
        result: Result = {
            "file": name,
            "bytes": None,
            "sha256": None,
            "kind": None,
            "network": None,
            "authors": None,
            "training": None,
            "blobs": [],
            "probe": None,
            "engines": {"opencv": None, "caffe": None},
            "scores": [],
            "problems": [],
            "remarks": [],
        }
        try:
            path = opened()
            result |= {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
            held = read_held(name, path)
            result |= {"kind": held.kind, "blobs": told(held)}
            damage = list(map(str, damages(held)))
            result["problems"] += damage
            network = recognise(held)
        except CaffeCompatError as error:
            result["problems"] += _lines(error, name)
            return result
        result |= {"network": network.name, "authors": network.authors}
        result["training"] = training(held) if network.predicts else None
        result["problems"] += map(str, redefined(held, network))
        if damage:
            return result  # of what they make of damage nothing can be learnt
        _run_engines(result, held, network, tools)
        scoring = tools.scoring
        if scoring and network.predicts and not result["problems"]:
            result["scores"] = scoring.score(held, network, self.say)
            if not result["scores"]:
                result["remarks"].append("there are no recordings of the cell that its name tells: not scored")
        return result


def _run_engines(result: Result, held: Held, network: Network, tools: _Tools) -> None:
    """Put the differences of all engines from ours into a file's result."""
    inputs = tools.inputs
    ours, terms = engines.run_ours(held, network, inputs, tools.device)
    result["probe"] = _probe(network.output, ours[network.output], described(inputs)["sha256"])
    others: dict[str, Callable[[], engines.Blobs]] = {"opencv": lambda: engines.run_opencv(held, network, inputs)}
    if tools.caffe.version is not None:
        others["caffe"] = lambda: tools.caffe.run(held, network, inputs)
    for name, run in others.items():
        try:
            differences = engines.compare(ours, run(), terms)
        except CaffeCompatError as error:
            result["problems"] += _lines(error, held.name)
            continue
        result["engines"][name] = [one.json() for one in differences]
        lacking = set(engines.last_layers(network)) - {one.blob for one in differences}
        result["problems"] += [f"{name} has no blob {blob!r}" for blob in sorted(lacking)]
        result["problems"] += [_disagreement(name, one) for one in differences if not one.agrees]
        cancelled = [one.blob for one in differences if one.agrees and (one.relative or 0) > engines.LIMIT]
        if cancelled:
            result["remarks"].append(
                f"{name}: the sums in {', '.join(cancelled)} nearly cancel; compared with the sums of magnitudes"
            )


def _disagreement(engine: str, one: engines.Difference) -> str:
    place = f"blob {one.blob!r} at {one.at}"
    if one.relative is None:
        return f"{engine} and ours disagree: {place}: a value is no number, or the shapes differ"
    return (
        f"{engine} and ours disagree: {place}: {one.absolute:.3g} apart, {one.relative:.3g} of the largest; "
        f"{engines.LIMIT:g} is allowed"
    )


def _probe(blob: str, values: Any, inputs: str) -> dict[str, Any] | None:
    """Return evenly spaced values of the output, for others to compare theirs with."""
    flat = values.ravel()
    if not np.isfinite(flat).all():
        return None
    taken = flat[np.linspace(0, flat.size - 1, min(_PROBED, flat.size)).round().astype(int)]
    return {"blob": blob, "inputs": inputs, "values": [float(value) for value in taken]}


def _lines(error: CaffeCompatError, name: str) -> list[str]:
    """Return a line for each problem; they name the file as the result does, wherever it lies."""
    problems = error.problems if isinstance(error, ProblemsError) else (error,)
    for problem in problems:
        problem.file = name
    return list(map(str, problems))


def _remark_copies(results: list[Result]) -> None:
    first: dict[str, str] = {}
    for one in results:
        other = first.setdefault(one["sha256"] or one["file"], one["file"])
        if other != one["file"]:
            one["remarks"].append(f"has the same bytes as {other}")
