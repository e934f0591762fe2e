"""Read verify.json, whose last entry is a SHA-256 over all others.

The hash shows that nothing was changed by accident; it is no signature, as anybody can compute it.
"""

from __future__ import annotations

from pathlib import Path

from caffe_compat.errors import FileError
from lq_emotion.common.fingerprints import fingerprint
from lq_emotion.common.json_files import contents_of, read_json
from lq_emotion.verify.results import FORMAT, PASSED, PROGRAM, Verification


def read_signed(path: Path) -> Verification:
    """Return a result that is as it was written.

    Raises
    ------
    FileError
        The file is missing, no result of this format, or was changed.
    """
    content = read_json(path)
    if content is None:
        raise FileError("no such file", code="file-missing", file=path, hint=f"{PROGRAM} --out writes one")
    if content.get("program") != PROGRAM:
        raise FileError(f"is not a result of {PROGRAM}", code="wrong-format", file=path)
    if content.get("format") != FORMAT:
        problem = f"has format {content.get('format')}; this version reads format {FORMAT}"
        raise FileError(problem, code="unsupported", file=path, field="format")
    with contents_of(path):
        unchanged = content.pop("sha256", None) == fingerprint(content)
    if not unchanged:
        problem = "was changed since it was signed off: its SHA-256 is not that of its contents"
        raise FileError(problem, code="damaged-file", file=path, field="sha256")
    with contents_of(path):
        return Verification.from_json(content)


def earlier(path: Path) -> Verification:
    """Return a result to compare with: one that passed.

    Raises
    ------
    FileError
        As `read_signed`; or it did not pass.
    """
    result = read_signed(path)
    if result.verdict != PASSED:
        problem = "is a result that did not pass; nothing to compare with"
        raise FileError(problem, code="invalid", file=path, field="--against")
    return result


def replaced(path: Path) -> Verification | None:
    """Return the result that a new one will replace, if it passed.

    Raises
    ------
    FileError
        The file is not a result, or was changed.
    """
    try:
        result = read_signed(path) if path.exists() else None
    except FileError as error:
        error.hint = "--fresh replaces it"
        raise
    return result if result and result.verdict == PASSED else None
