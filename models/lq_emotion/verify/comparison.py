"""Files of weights against those of an earlier result."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lq_emotion.verify.settings import Probe, VerifiedFile

_Hashes = dict[tuple[str, int], str]


def compare(
    now: Sequence[VerifiedFile], then: Sequence[VerifiedFile], *, limit: float
) -> tuple[list[VerifiedFile], list[str]]:
    """Return the files with problems and remarks about what has changed since, and the problems of no present file.

    Files are matched by name, then by their bytes, then by the weights in them. Outputs may differ by `limit` times
    the largest.
    """
    unmatched = list(then)
    matches: dict[str, VerifiedFile] = {}
    for alike in _ALIKE:
        for file in now:
            match = next((old for old in unmatched if file.file not in matches and alike(file, old)), None)
            if match is not None:
                unmatched.remove(match)
                matches[file.file] = match
    files = [
        _compare_file(file, matches[file.file], limit)
        if file.file in matches
        else file.adding(remarks=["is new: the earlier result has nothing to compare it with"])
        for file in now
    ]
    return files, [f"{old.file} is missing; the earlier result has it" for old in unmatched]


def _hashes(file: VerifiedFile) -> _Hashes:
    return {(blob.layer, blob.index): blob.sha256 for blob in file.blobs}


_ALIKE: tuple[Callable[[VerifiedFile, VerifiedFile], bool], ...] = (
    lambda file, old: file.file == old.file,
    lambda file, old: file.sha256 == old.sha256,
    lambda file, old: bool(file.blobs) and _hashes(file) == _hashes(old),
)


def _compare_file(file: VerifiedFile, old: VerifiedFile, limit: float) -> VerifiedFile:
    if file.file != old.file:
        what = "bytes" if file.sha256 == old.sha256 else "weights"
        file = file.adding(remarks=[f"has the {what} of {old.file} in the earlier result"])
    elif file.sha256 != old.sha256:
        changes = _changes(_hashes(file), _hashes(old))
        file = file.adding(problems=[f"the file has changed: SHA-256 {file.sha256}, was {old.sha256}; {changes}"])
    return _compare_probe(file, file.probe, old.probe, limit) if file.probe and old.probe else file


def _changes(now: _Hashes, then: _Hashes) -> str:
    if not now:
        return "its weights cannot be compared, as it cannot be read"
    names = [key for key in {**then, **now} if now.get(key) != then.get(key)]
    if not names:
        return "the weights are the same, other parts of the file have changed"
    return f"in these blobs: {', '.join(f'layer {layer!r} blobs[{index}]' for layer, index in names)}"


def _compare_probe(file: VerifiedFile, now: Probe, then: Probe, limit: float) -> VerifiedFile:
    if now.inputs != then.inputs or len(now.values) != len(then.values):
        return file.adding(remarks=["the earlier outputs are those of other inputs: not compared"])
    largest = max(map(abs, then.values))
    apart = max(abs(a - b) for a, b in zip(now.values, then.values, strict=True))
    if apart <= limit * largest:
        return file
    return file.adding(problems=[f"the outputs have changed by {apart:.3g}; the largest was {largest:.3g}"])
