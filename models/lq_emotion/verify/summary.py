"""A result as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lq_emotion.studies.robust_lq.results import MEASURES
from lq_emotion.verify.result_file import PASSED, Result

UNSEEN = (
    "Compared with no earlier result: a changed weight that is still plausible, as after one flipped bit, "
    "is the same to every engine and was not looked for."
)
_ENGINES = {"opencv": "OpenCV", "caffe": "Caffe"}


def lines(result: Result) -> Iterator[str]:
    """Yield the whole result, line by line."""
    engines = result["engines"]
    told = engines["caffe"] or f"not there ({engines['caffe_absent']})"
    yield f"second engine: OpenCV {engines['opencv']}; genuine Caffe: {told}; ours on {result['device']}"
    yield f"inputs: {', '.join(result['inputs']['pictures'])}; SHA-256 {result['inputs']['sha256']}"
    if result["recordings"] and result["recordings"]["synthetic"]:
        yield "recordings: synthetic, so that scores say nothing about the published ones"
    for one in result["files"]:
        yield ""
        yield from _file(one)
    yield ""
    yield from table(["file", "network", "largest difference", "verdict"], [_summary(one) for one in result["files"]])
    if result["against"]:
        yield f"compared with {result['against']['file']}, SHA-256 {result['against']['sha256']}"
    else:
        yield UNSEEN
    for problem in result["problems"]:
        yield f"FAILED: {problem}"
    failed = sum(one["verdict"] != PASSED for one in result["files"])
    count = len(result["files"])
    files = f"{count} file{'s' if count > 1 else ''}"
    yield f"{files} passed" if result["verdict"] == PASSED else f"FAILED: {failed} of {files} did not pass"


def network(one: Result) -> str:
    """Return what a file was recognised as."""
    if one["network"] is None:
        return "not recognised"
    return f"{one['network']} ({one['training']})" if one["training"] else str(one["network"])


def largest(one: Result) -> tuple[str, dict[str, Any]] | None:
    """Return the engine and the blob with the largest relative difference."""
    there = [
        (name, blob) for name, blobs in one["engines"].items() for blob in blobs or () if blob["relative"] is not None
    ]
    return max(there, key=lambda pair: pair[1]["relative"], default=None)


def _file(one: Result) -> Iterator[str]:
    yield f"{one['file']}: {network(one)}, {one['bytes']} bytes, SHA-256 {one['sha256']}"
    ran = {title: one["engines"][name] for name, title in _ENGINES.items() if one["engines"][name]}
    if ran:
        head = ["  blob", "largest"]
        for title in ran:
            head += [f"{title}: absolute", "relative"]
        blobs = {blob["blob"]: [f"  {blob['blob']}", f"{blob['largest']:.4g}"] for blob in next(iter(ran.values()))}
        for found in ran.values():
            for blob in found:
                blobs[blob["blob"]] += [_number(blob["absolute"]), _number(blob["relative"])]
        yield from table(head, list(blobs.values()))
    for score in one["scores"]:
        yield f"  {_score(score)}"
    for remark in one["remarks"]:
        yield f"  note: {remark}"
    for problem in one["problems"]:
        yield f"  FAILED: {problem}"


def _score(score: Result) -> str:
    measured = score["measured"]
    found = ", ".join(f"{name.upper()} {_fixed(measured[name])}" for name in MEASURES)
    line = f"on {score['crops']} ({measured['frames']} frames): {found}"
    if score["published"] is None:
        return f"{line}; no cell of Table 1 known: --cell FILE=METHOD-S"
    cell = score["method"] if score["method"] == "HR" else f"{score['method']} at {score['factor']}"
    known = ", ".join(_fixed(score["published"][name]) for name in MEASURES)
    return f"{line}; published for {cell}: {known}{' (agrees)' if score['agrees'] else ''}"


def _summary(one: Result) -> list[str]:
    found = largest(one)
    shown = "–" if found is None else f"{found[1]['relative']:.2g} ({_ENGINES[found[0]]}, {found[1]['blob']})"
    return [one["file"], network(one), shown, _verdict(one)]


def _verdict(one: Result) -> str:
    return PASSED if one["verdict"] == PASSED else "FAILED"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows below their head, the first column to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([f"{row[0]:{widths[0]}}", *cells])


def _number(value: float | None) -> str:
    return "no number" if value is None else f"{value:.2e}"


def _fixed(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
