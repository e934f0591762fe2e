"""Table 1, its intervals and tests, nets outside the table, and all evaluations."""

from __future__ import annotations

from collections.abc import Iterator

from lq_emotion.common.document import Block, Column, Figure, Row, Table, Text, number, read_png, row
from lq_emotion.evaluation.settings import MEAN, TOGETHER, Evaluation
from lq_emotion.nets.names import FACTORS, Method
from lq_emotion.report.parts import Absent
from lq_emotion.studies.robust_lq import tables
from lq_emotion.studies.robust_lq.published import published
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
    figure = read_png(store.root / "table" / "table.png")
    if figure is None:
        yield Text("table/table.png is missing.", "note")
    else:
        caption = "CC and CCC against the downsampling factor s: lines with dots are measured, dotted lines published."
        yield Figure("table_1", figure, caption, "Two panels: CC and CCC of each method against the factor s")
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
    for name, results in store.scores.items():
        with store.contents("scores", name, "scores.json"):
            evaluation = Evaluation.from_json(results)
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
