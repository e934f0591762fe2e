"""The signed-off result: JSON whose last entry is a SHA-256 over all others, and the comparison with an earlier one.

The hash shows that nothing was changed by accident; it is no signature, as anybody can compute it anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caffe_compat.errors import FileError
from lq_emotion.common.fingerprints import fingerprint
from lq_emotion.common.json_files import contents_of, read_json, write_json

PROGRAM, FORMAT = "lq-emotion verify", 1
PASSED, FAILED = "passed", "failed"
Result = dict[str, Any]


def digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a result holds apart from ``sha256``: JSON with sorted keys and no spaces."""
    kept = {key: value for key, value in content.items() if key != "sha256"}
    return fingerprint(kept)


def write_signed(content: Result, path: Path) -> None:
    """Write a result with its hash, complete or not at all.

    Raises
    ------
    FileError
        It cannot be written.
    """
    write_json({**content, "sha256": digest(content)}, path)


def read_signed(path: Path) -> Result:
    """Return a result that is as it was written.

    Raises
    ------
    FileError
        There is no such file, it is another, or it was changed since.
    """
    found: Result | None = read_json(path)
    if found is None:
        raise FileError("no such file", code="file-missing", file=path, hint=f"{PROGRAM} --out writes one")
    if found.get("program") != PROGRAM:
        raise FileError(f"is not a result of {PROGRAM}", code="wrong-format", file=path)
    if found.get("format") != FORMAT:
        problem = f"has format {found.get('format')}; this version reads format {FORMAT}"
        raise FileError(problem, code="unsupported", file=path, field="format")
    with contents_of(path):
        same = found.get("sha256") == digest(found)
    if not same:
        problem = "was changed since it was signed off: its SHA-256 is not that of its contents"
        raise FileError(problem, code="damaged-file", file=path, field="sha256")
    return found


def earlier(path: Path) -> Result:
    """Return a result to compare with: one that passed.

    Raises
    ------
    FileError
        As `read_signed`; or it did not pass.
    """
    found = read_signed(path)
    if found.get("verdict") != PASSED:
        raise FileError(
            "is a result that did not pass; nothing to compare with", code="invalid", file=path, field="--against"
        )
    return found


def replaced(path: Path) -> Result | None:
    """Return the result that another one would take the place of, if it passed; None where it is no loss.

    Raises
    ------
    FileError
        What is there is something else, or was changed.
    """
    try:
        found = read_signed(path) if path.exists() else None
    except FileError as error:
        error.hint = "--fresh replaces it"
        raise
    return found if found and found.get("verdict") == PASSED else None


def compare(now: list[Result], then: list[Result], *, limit: float) -> list[str]:
    """Add to every file's problems and remarks in what it differs from then; return what concerns no file.

    Files are matched by name, then by their bytes, then by the weights in them.
    """
    left = {one["file"]: one for one in then}
    pairs: list[tuple[Result, Result]] = []
    for alike in (_same_name, _same_bytes, _same_weights):
        taken = {id(one) for one, _ in pairs}
        for one in now:
            other = next((old for old in left.values() if alike(one, old)), None) if id(one) not in taken else None
            if other is not None:
                del left[other["file"]]
                pairs.append((one, other))
    matched = {id(one) for one, _ in pairs}
    for one, other in pairs:
        _compare_file(one, other, limit)
    for one in now:
        if id(one) not in matched:
            one["remarks"].append("was not there then: nothing to compare it with")
    return [f"{name} was there then, and is not now" for name in left]


def _same_name(one: Result, other: Result) -> bool:
    return bool(one["file"] == other["file"])


def _same_bytes(one: Result, other: Result) -> bool:
    return bool(one["sha256"] == other["sha256"])


def _same_weights(one: Result, other: Result) -> bool:
    return bool(one["blobs"]) and _blobs(one) == _blobs(other)


def _blobs(one: Result) -> dict[tuple[str, int], str]:
    return {(blob["layer"], blob["index"]): blob["sha256"] for blob in one["blobs"]}


def _compare_file(one: Result, other: Result, limit: float) -> None:
    mine, theirs = _blobs(one), _blobs(other)
    if one["file"] != other["file"]:
        what = "bytes" if one["sha256"] == other["sha256"] else "weights"
        one["remarks"].append(f"has the {what} that {other['file']} had then")
    elif one["sha256"] != other["sha256"]:
        one["problems"].append(
            f"the file has changed: SHA-256 {one['sha256']}, then {other['sha256']}; {_changed(mine, theirs)}"
        )
    if one["probe"] and other["probe"]:
        _compare_probe(one, other["probe"], limit)


def _changed(mine: dict[tuple[str, int], str], theirs: dict[tuple[str, int], str]) -> str:
    if not mine:
        return "its weights cannot be compared, as it cannot be read"
    names = [key for key in {**theirs, **mine} if mine.get(key) != theirs.get(key)]
    if not names:
        return "every blob is the same: what has changed is not the weights but what stands around them"
    told = ", ".join(f"layer {layer!r} blobs[{index}]" for layer, index in names)
    return f"in these blobs: {told}"


def _compare_probe(one: Result, then: Result, limit: float) -> None:
    if one["probe"]["inputs"] != then["inputs"] or len(one["probe"]["values"]) != len(then["values"]):
        one["remarks"].append("its outputs were of other inputs then: not compared")
        return
    largest = max(map(abs, then["values"]))
    apart = max(abs(a - b) for a, b in zip(one["probe"]["values"], then["values"], strict=True))
    if apart > limit * largest:
        one["problems"].append(
            f"its outputs differ from those of then by {apart:.3g}, where the largest is {largest:.3g}"
        )
