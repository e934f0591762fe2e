"""All checks of a folder of weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from caffe_compat.errors import CaffeCompatError, DataError, FileError, ProblemsError, did_you_mean
from lq_emotion.common.devices import choose_device
from lq_emotion.common.fingerprints import file_sha256, versions
from lq_emotion.common.json_files import contents_of, write_json
from lq_emotion.common.progress import Say
from lq_emotion.datasets.avec.partitions import recordings_in
from lq_emotion.studies.robust_lq.store import Store
from lq_emotion.verify import engines
from lq_emotion.verify.comparison import compare
from lq_emotion.verify.crops import CropsFolders, find_crops
from lq_emotion.verify.engines import Batch, fixed_inputs
from lq_emotion.verify.genuine_caffe import Caffe, find_caffe
from lq_emotion.verify.networks import Network, recognise, redefined, training
from lq_emotion.verify.scoring import missing_crops, score_weights
from lq_emotion.verify.settings import (
    FAILED,
    BlobDifference,
    Probe,
    Verification,
    VerifiedFile,
    VerifySettings,
    earlier,
    replaced,
)
from lq_emotion.verify.weights import LoadedWeights, blob_digests, damages, digest, find_files, load_weights
from matlab_ports.run_eval import mat_path, read_label_name

_PROBED = 8
_ELSEWHERE = 10 * engines.LIMIT
"""Allowed difference of outputs from those of another machine: both are rounded, and sums there nearly cancel."""


class _Tools(NamedTuple):
    """The inputs and engines for every file, and the crops to score on."""

    inputs: Batch
    device: torch.device
    caffe: Caffe
    crops: CropsFolders | None


def verify(settings: VerifySettings, say: Say = print) -> Verification:
    """Verify, write the result, and return it.

    Errors are for what prevents all of it, before anything is written; what is wrong with a file is in the result.
    """
    files = find_files(settings.weights)
    _require_writable(settings.out)
    before = _before(settings)
    _require_cells(settings, [name for name, _ in files])
    engines.opencv()
    tools = _Tools(fixed_inputs(), choose_device(settings.device), find_caffe(settings.caffe), _crops(settings, say))
    verified = []
    for name, opener in files:
        say(f"{name}: begins")
        with ExitStack() as stack:  # a file of an archive exists only here
            verified.append(_file(name, partial(stack.enter_context, opener()), tools, settings, say))
    verified = _remark_copies(verified)
    problems: list[str] = []
    result = _without_files(tools, settings)
    if before is not None:
        source = settings.against or settings.out
        result = replace(result, against=source.name, against_sha256=before.sha256)
        names = {file.file for file in verified}
        then = [file for file in before.files if settings.against or file.file in names]
        with contents_of(source):
            verified, problems = compare(verified, then, limit=_ELSEWHERE)
    result = replace(result, files=tuple(verified), problems=tuple(problems))
    if not (result.verdict == FAILED and before and settings.keeps_earlier):
        write_json(result.to_json(), settings.out)
    return result


def _require_writable(out: Path) -> None:
    """Refuse, before all work, a place where nothing can be written."""
    folder = out.absolute().parent
    if out.is_dir():
        raise FileError("this is a folder; a file is expected", code="wrong-type", file=out, field="--out")
    if not folder.is_dir():
        raise FileError("no such folder", code="file-missing", file=out.parent, field="--out")
    if not os.access(folder, os.W_OK):
        raise FileError("cannot be written to", code="file-unwritable", file=folder, field="--out")


def _before(settings: VerifySettings) -> Verification | None:
    """Return the earlier result to compare with."""
    if settings.against:
        return earlier(settings.against)
    return None if settings.fresh else replaced(settings.out)


def _require_cells(settings: VerifySettings, names: Sequence[str]) -> None:
    for name, _ in settings.cells:
        if name not in names:
            hint = did_you_mean(name, names) or f"there are {', '.join(names[:5])}"
            raise DataError("is not among the files", code="name-unknown", field="--cell", value=name, hint=hint)


def _crops(settings: VerifySettings, say: Say) -> CropsFolders | None:
    """Return the crops to score on, all of valence; None without recordings."""
    if not settings.recordings:
        if settings.crops:
            problem = "needs the recordings to score on"
            raise DataError(problem, code="conflict", field="--crops", hint="pass --recordings ROOT, too")
        return None
    crops = find_crops(settings.recordings, settings.partitions, dict(settings.crops), say)
    for folder in crops.folders.values():  # refused before the first file is read
        for name in recordings_in(folder, "dev", settings.partitions):
            if (label := read_label_name(mat_path(folder, name))) != "valence":
                problem = "nets are scored on valence, as in Table 1"
                raise DataError(problem, code="mismatch", file=folder, field="labels", value=label)
    return crops


def _without_files(tools: _Tools, settings: VerifySettings) -> Verification:
    recordings = settings.recordings
    return Verification(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
        device=str(tools.device),
        limit=engines.LIMIT,
        images=engines.IMAGES,
        shape=tools.inputs.shape,
        inputs=digest(tools.inputs),
        opencv=engines.opencv().__version__,
        caffe=tools.caffe.version,
        caffe_absent=tools.caffe.reason or None,
        synthetic=Store(recordings).synthetic if recordings else None,
        crops=tuple(folder.name for folder in tools.crops.folders.values()) if tools.crops else (),
        delay=settings.delay if recordings else None,
    )


def _file(name: str, opened: Callable[[], Path], tools: _Tools, settings: VerifySettings, say: Say) -> VerifiedFile:
    """Return the result of all checks of a file."""
    result = VerifiedFile(name, bytes=None, sha256=None)
    try:
        path = opened()
        result = replace(result, bytes=path.stat().st_size, sha256=file_sha256(path))
        weights = load_weights(name, path)
        damage = tuple(map(str, damages(weights)))
        result = replace(result, kind=weights.kind, blobs=blob_digests(weights), problems=damage)
        network = recognise(weights)
    except CaffeCompatError as error:
        return result.adding(problems=_lines(error, name))
    method = training(weights) if network.predicts else None
    result = replace(result, network=network.name, authors=network.authors, training=method)
    result = result.adding(problems=map(str, redefined(weights, network)))
    if damage:
        return result  # outputs of damaged weights prove nothing
    result = _run_engines(result, weights, network, tools)
    if tools.crops and network.predicts and not result.problems:
        result = replace(result, scores=score_weights(weights, network, tools.crops, settings, say))
        if not result.scores:
            result = result.adding(remarks=[f"not scored: {missing_crops(weights, tools.crops, settings)}"])
    return result


def _run_engines(result: VerifiedFile, weights: LoadedWeights, network: Network, tools: _Tools) -> VerifiedFile:
    """Return a file's result with the differences of all engines from ours."""
    inputs = tools.inputs
    ours, terms = engines.run_ours(weights, network, inputs, tools.device)
    result = replace(result, probe=_probe(network.output, ours[network.output], digest(inputs)))
    others: dict[str, Callable[[], engines.Blobs]] = {"opencv": lambda: engines.run_opencv(weights, network, inputs)}
    if tools.caffe.version is not None:
        others["caffe"] = lambda: tools.caffe.run(weights, network, inputs)
    for name, run in others.items():
        try:
            differences = engines.compare(ours, run(), terms)
        except CaffeCompatError as error:
            result = result.adding(problems=_lines(error, weights.name))
            continue
        result = replace(result, engines={**result.engines, name: tuple(differences)})
        missing = set(engines.last_layers(network)) - {blob.blob for blob in differences}
        result = result.adding(problems=[f"{name} has no blob {blob!r}" for blob in sorted(missing)])
        result = result.adding(problems=[_disagreement(name, blob) for blob in differences if not blob.agrees])
        cancelled = [blob.blob for blob in differences if blob.agrees and (blob.relative or 0) > engines.LIMIT]
        if cancelled:
            remark = f"{name}: the sums in {', '.join(cancelled)} nearly cancel; compared with the sums of magnitudes"
            result = result.adding(remarks=[remark])
    return result


def _disagreement(engine: str, blob: BlobDifference) -> str:
    place = f"{engine} and ours disagree: blob {blob.blob!r} at {blob.at}"
    if blob.relative is None:
        return f"{place}: a value is not finite, or the shapes differ"
    return f"{place}: {blob.absolute:.3g} apart, {blob.relative:.3g} of the largest; {engines.LIMIT:g} is allowed"


def _probe(blob: str, values: Any, inputs: str) -> Probe | None:
    flat = values.ravel()
    if not np.isfinite(flat).all():
        return None
    indices = np.linspace(0, flat.size - 1, min(_PROBED, flat.size)).round().astype(int)
    return Probe(blob, inputs, tuple(map(float, flat[indices])))


def _lines(error: CaffeCompatError, name: str) -> list[str]:
    """Return a line for each problem; they name the file as the result does, wherever it is."""
    problems = error.problems if isinstance(error, ProblemsError) else (error,)
    for problem in problems:
        problem.file = name
    return list(map(str, problems))


def _remark_copies(files: list[VerifiedFile]) -> list[VerifiedFile]:
    first: dict[str, str] = {}
    originals = [first.setdefault(file.sha256 or file.file, file.file) for file in files]
    return [
        file if file.file == original else file.adding(remarks=[f"has the same bytes as {original}"])
        for file, original in zip(files, originals, strict=True)
    ]
