"""Table 1, its intervals and tests, nets outside the table, the paper's figures, and all evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lq_emotion.common.document import Block, Column, Figure, Row, Table, Text, code, number, read_png, row
from lq_emotion.common.json_files import contents_of
from lq_emotion.evaluation.settings import MEAN, TOGETHER, Evaluation
from lq_emotion.nets.names import FACTORS, Method
from lq_emotion.report.parts import Absent, figure_of
from lq_emotion.studies.robust_lq import tables
from lq_emotion.studies.robust_lq.published import published
from lq_emotion.studies.robust_lq.rd_results import PUBLISHED_BPP, PUBLISHED_QP, UNCODED, Point, SweepResults
from lq_emotion.studies.robust_lq.results import StudyResults
from lq_emotion.studies.robust_lq.store import Store
from lq_emotion.studies.robust_lq.tables import TITLES, best, column


def table_1(store: Store) -> Iterator[Block]:
    """Yield the table, its figure and conclusions."""
    results = store.table
    if results is None:
        raise Absent("No Table 1: `lq-emotion study run robust-lq` has not run to its end in this folder.")
    yield Text(
        f"RMSE (in units of {store.dimension}, which goes from −1 to 1; lower is better), correlation CC and "
        "concordance correlation CCC (higher is better) of all development recordings as one sequence, in AVEC's "
        "convention. The paper's numbers are of AVEC 2016; Δ is here minus paper."
    )
    if store.synthetic:
        yield Text("The recordings here are synthetic: Δ compares different data and says nothing about the paper.")
    with store.contents():  # factors may be out of range, or without cells
        yield tables.table_1(results)
        yield Text(_winners(results))
    caption = "CC and CCC against the downsampling factor s: lines with dots are measured, dotted lines published."
    alt = "Two panels: CC and CCC of each method against the factor s"
    yield figure_of(store.root / "table" / "table.png", "table_1", caption, alt)
    yield Text(_paper())


def _winners(results: StudyResults) -> str:
    factors = []
    for factor in results.scales:
        cells = column(results, factor)
        measured, paper = (
            " and ".join(cell.label for cell, wins in zip(cells, best(cells, "ccc", which), strict=True) if wins)
            for which in ("measured", "published")
        )
        factors.append(f"s = {factor}: {measured or 'none'} here, {paper or 'not given'} in the paper")
    return f"Highest CCC at {'; '.join(factors)}."


def _paper() -> str:
    """Return where the paper's text and its own table disagree."""
    lost = [s for s in FACTORS if _ccc(Method.JOINT_OA, s) < _ccc(Method.JOINT, s)]
    others = (Method.LR, Method.NON_JOINT, Method.JOINT)
    above = [f"{m} at s = {s}" for s in FACTORS for m in others if _ccc(m, s) > _ccc(Method.JOINT_OA, s)]
    return (
        "Of the published table itself: the text has Joint-OA “consistently” above Joint-s, perhaps up to s = 8 alone, "
        f"as its CCC is lower at s = {', '.join(map(str, lost))}; higher in CCC than Joint-OA are {', '.join(above)}."
    )


def _ccc(method: Method, factor: int) -> float:
    scores = published(method, factor)
    assert scores is not None
    assert scores.ccc is not None
    return scores.ccc


def comparisons(store: Store) -> Iterator[Block]:
    """Yield the intervals of all scores, and the differences of CCC."""
    if store.comparisons is None:
        raise Absent("No intervals and tests: `lq-emotion study run robust-lq` computes them.")
    yield from tables.comparison_tables(store.comparisons)


def variants(store: Store) -> Iterator[Block]:
    """Yield a table for each of the paper's statements that was tried."""
    if store.table is None or store.variants is None:
        raise Absent("No other nets than those of Table 1: `lq-emotion study run robust-lq` trains and scores them.")
    yield from tables.variant_tables(store.table, store.variants)


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
        yield figure_of(folder / f"rd_{codec}.png", f"figure_4_{key}{codec}", caption, alt)
    caption = f"{name}Bits per pixel and PSNR against QP. Stars are the rates that the paper's text gives."
    yield figure_of(folder / "rate.png", f"rate_{key}".rstrip("_"), caption, "Rate and quality by QP")
    yield _costs(coded, name)
    for codec in codecs:
        yield _curves(codec, [point for point in points if point.codec in (codec, UNCODED)], name)
    frames = max(point.score.frames or 0 for point in points)
    versions = ", ".join(f"{package} {version}" for package, version in results.versions.items())
    yield Text(
        f"{name}{len(results.recordings)} recordings, {frames:,} frames; {results.fps} frames a second, a key "
        f"frame every {results.gop}, preset {results.preset}; {versions}. Nets: {_models(results)}."
    )
    if results.bits_rise_with_qp:
        yield Text(
            f"{name}A higher QP should take fewer bits; it did not here: {'; '.join(results.bits_rise_with_qp)}."
        )


def _models(results: SweepResults) -> str:
    """Return the files of the nets with the beginning of their SHA-256."""
    nets = []
    for model in results.models:
        at = f" at s = {model.scale}" if model.scale else ""
        nets.append(f"{model.name}{at}, {code(model.weights.name)}, SHA-256 {code(model.sha256[:16])}…")
    return "; ".join(nets)


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


def evaluations(store: Store) -> Iterator[Block]:
    """Yield a row for each evaluation below scores/."""
    if not store.scores:
        raise Absent(
            "No evaluations: `lq-emotion study evaluate` and `lq-emotion study run robust-lq` leave them in scores/."
        )
    columns = (
        Column("Evaluation", number=False),
        Column("frames"),
        *(Column(title, "all recordings as one") for title in TITLES.values()),
        *(Column(title, "mean of recordings") for title in TITLES.values()),
        *(Column(name, "CCC as one, both over") for name in ("N", "N − 1")),
    )
    rows, changed = [], []
    for name, evaluation in store.scores.items():
        with store.contents("scores", name, "scores.json"):
            rows.append(_evaluation(name, evaluation))
            changed += _changed(name, evaluation)
    caption = (
        "All evaluations: net, and the crops it was shown. AVEC's CCC divides covariances by N and variances by N − 1; "
        "the last columns divide both by the same."
    )
    yield Table(caption, columns, tuple(rows))
    yield from changed


def _changed(name: str, evaluation: Evaluation) -> list[Text]:
    """Return how predictions were changed before they were scored."""
    shift = evaluation.delay - evaluation.prepared_delay
    steps = [f"shifted by {shift:g} s"] if shift else []
    steps += ["post-processed as in AVEC"] if evaluation.post_processing else []
    return [Text(f"{name}: predictions were {' and '.join(steps)}.")] if steps else []


def _evaluation(name: str, evaluation: Evaluation) -> Row:
    together, mean = evaluation.scores[TOGETHER], evaluation.scores[MEAN]
    values = [value for part in (together, mean) for value in (part.rmse, part.cc, part.ccc)]
    values += [evaluation.concatenated_by_convention[convention].ccc for convention in ("population", "sample")]
    return row(name.replace("_on_", " on "), f"{together.frames:,}", *map(number, values))


_CAPTIONS = {
    1: "**Figure 1.** A face at full resolution and at every factor: enlarged again, and the pixels that are left.",
    2: "**Figure 2.** The pipeline, with what each step makes of a frame.",
    3: "**Figure 3.** The nets: SR-FCN, and the CNN that takes over its first three layers.",
}


def paper_figures(store: Store) -> Iterator[Block]:
    """Yield the figures that were drawn."""
    pngs = {number: read_png(store.root / "study" / f"figure{number}.png") for number in _CAPTIONS}
    if not any(pngs.values()):
        raise Absent("No Figures 1 to 3: `lq-emotion study run robust-lq` draws them.")
    for place, png in pngs.items():
        if png is not None:
            yield Figure(f"figure_{place}", png, _CAPTIONS[place], f"Figure {place} of the paper, drawn anew")
