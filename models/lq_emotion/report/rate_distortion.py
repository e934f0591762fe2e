"""Figure 4: what video codecs cost, and how well valence is recognised from their frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lq_emotion.common.document import Block, Column, Figure, Row, Table, Text, code, number, read_png, row
from lq_emotion.common.json_files import contents_of
from lq_emotion.report.parts import Absent
from lq_emotion.studies.robust_lq.rd_results import PUBLISHED_BPP, PUBLISHED_QP, UNCODED, Point, SweepResults
from lq_emotion.studies.robust_lq.store import Store


def rate_distortion(store: Store) -> Iterator[Block]:
    """Yield figures and tables of each sweep."""
    if not store.sweeps:
        raise Absent("No Figure 4: `lq-emotion study rd --out ROOT/rd` has not run to its end in this folder.")
    yield Text(
        "The crops were shrunk by s, really encoded at each quantiser QP, decoded, enlarged to their size again and "
        "shown to the nets, which were not trained on coded frames. “HR on LR” is the net trained on HR faces, shown "
        "these; shown HR faces, it is the row HR of Table 1. Rates are bits per pixel of the small frames (bpp): all "
        "bits of the stream, and those of coded frames alone (VCL), without headers. The paper names "
        "neither its codec nor what it counted."
    )
    for folder, results in store.sweeps.items():
        with contents_of(folder / "rd.json"):  # numbers may still be infinite
            yield from _sweep(folder, results, "" if folder == store.root / "rd" else f"{folder.name}: ")


def _sweep(folder: Path, results: SweepResults, name: str) -> Iterator[Block]:
    points, key = results.points, name.removesuffix(": ")
    coded = [point for point in points if point.qp is not None]
    codecs = list(dict.fromkeys(point.codec for point in coded))
    models = ", ".join(dict.fromkeys(point.model for point in points))
    for codec in codecs:
        caption = (
            f"**Figure 4.** {name}CC and CCC of {models} against QP and against bits per pixel, coded by {codec}; "
            "dotted lines are of small frames that were not coded."
        )
        alt = f"CC and CCC against QP and bits per pixel for {codec}"
        yield _figure(folder / f"rd_{codec}.png", f"figure_4_{key}{codec}", caption, alt)
    caption = f"{name}Bits per pixel and PSNR against QP. Stars are the rates that the paper's text gives."
    yield _figure(folder / "rate.png", f"rate_{key}".rstrip("_"), caption, "Rate and quality by QP")
    yield _costs(coded, name)
    for codec in codecs:
        yield _curves(codec, [point for point in points if point.codec in (codec, UNCODED)], name)
    frames = max(point.score.frames or 0 for point in points)
    versions = ", ".join(f"{package} {version}" for package, version in results.versions.items())
    yield Text(
        f"{name}{len(results.recordings)} recordings, {frames:,} frames; {results.fps} frames a second, a key "
        f"frame every {results.gop}, preset {results.preset}; {versions}. Nets: {_nets(results)}."
    )
    if results.bits_rise_with_qp:
        yield Text(
            f"{name}A higher QP should take fewer bits; it did not here: {'; '.join(results.bits_rise_with_qp)}."
        )


def _nets(results: SweepResults) -> str:
    """Return the files of the nets with the beginning of their SHA-256."""
    nets = []
    for model in results.models:
        at = f" at s = {model.scale}" if model.scale else ""
        nets.append(f"{model.name}{at}, {code(model.weights.name)}, SHA-256 {code(model.sha256[:16])}…")
    return "; ".join(nets)


def _figure(path: Path, name: str, caption: str, alt: str) -> Block:
    data = read_png(path)
    if data is None:
        return Text(f"{path.name} is missing in {path.parent.name}.", "note")
    return Figure(name, data, caption, alt)


def _costs(coded: Sequence[Point], name: str) -> Table:
    """Return the rates at the paper's QP, or the nearest, with the published rates."""
    rows = []
    for scale, codec in dict.fromkeys((point.scale, point.codec) for point in coded):
        curve = [point for point in coded if (point.scale, point.codec) == (scale, codec)]
        point = min(curve, key=lambda point: abs((point.qp or 0) - PUBLISHED_QP))
        numbers = (point.bpp, point.vcl_bpp, PUBLISHED_BPP.get(scale))
        rows.append(row(f"{scale}", codec, str(point.qp), *map(number, numbers), number(point.psnr, 1)))
    columns = (
        Column("s", number=False),
        Column("codec", number=False),
        Column("QP"),
        Column("all, bpp", "bits per pixel"),
        Column("VCL, bpp", "bits per pixel"),
        Column("paper, bpp", "bits per pixel"),
        Column("PSNR, dB"),
    )
    caption = f"{name}What coding costs at QP {PUBLISHED_QP}, compared with the paper's approximate rates."
    return Table(caption, columns, tuple(rows))


def _curves(codec: str, points: Sequence[Point], name: str) -> Table:
    models = list(dict.fromkeys(point.model for point in points))
    columns = [Column("QP", number=False), Column("bpp"), Column("PSNR, dB")]
    columns += [Column(title, model) for model in models for title in ("CC", "CCC")]
    rows = []
    for scale in sorted({point.scale for point in points}):
        rows.append(Row(group=f"s = {scale}"))
        by_qp: dict[int | None, dict[str, Point]] = {}
        for point in points:
            if point.scale == scale:
                by_qp.setdefault(point.qp, {})[point.model] = point
        for qp, by_model in sorted(by_qp.items(), key=lambda item: -1 if item[0] is None else item[0]):
            first = next(iter(by_model.values()))
            shown = (by_model.get(model) for model in models)
            scores = (value for p in shown for value in ((p.score.cc, p.score.ccc) if p else (None, None)))
            title = "not coded" if qp is None else str(qp)
            rows.append(row(title, number(first.bpp), number(first.psnr, 1), *map(number, scores)))
    return Table(f"{name}The curves of {codec} in numbers.", tuple(columns), tuple(rows))
