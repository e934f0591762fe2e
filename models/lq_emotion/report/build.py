"""The report: every part from its files, written as a page and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from caffe_compat.errors import CaffeCompatError, FileError
from caffe_compat.formats.files import atomic_path
from lq_emotion.common.document import Block, Figure, Report, Table, Text, number
from lq_emotion.common.html_page import page
from lq_emotion.common.markdown import markdown
from lq_emotion.common.records import Record
from lq_emotion.nets.names import Method
from lq_emotion.nets.switches import describe_settings
from lq_emotion.report import cloud_robotics, open_questions, provenance, results
from lq_emotion.report.example_frames import frames
from lq_emotion.report.parts import sections
from lq_emotion.report.traces import traces
from lq_emotion.studies.cloud_robotics.results import FILE
from lq_emotion.studies.robust_lq.store import Store

PARTS: dict[str, tuple[Callable[[Store], Iterator[Block]], ...]] = {
    "Table 1": (results.table_1,),
    "Intervals and tests": (results.comparisons,),
    "Nets outside Table 1": (results.variants,),
    "Figures 1 to 3": (results.paper_figures,),
    "Example frames": (frames,),
    "Valence traces": (traces,),
    "Rate and distortion": (results.rate_distortion,),
    "All evaluations": (results.evaluations,),
    "What was run": (provenance.settings, provenance.recordings, provenance.trainings),
    "Paper and code": (open_questions.disagreements,),
    "What could not be verified": (open_questions.not_verified,),
}
_PAPER = (
    "Bowen Cheng, Zhangyang Wang, Zhaobin Zhang, Zhu Li, Ding Liu, Jianchao Yang, Shuai Huang, Thomas S. Huang: Robust "
    "Emotion Recognition from Low Quality and Low Bit Rate Video: A Deep Learning Approach, arXiv 1709.03126"
)


def make_report(root: Path) -> Report:
    """Return a report of what is below ROOT, of either study. A line names what is missing or damaged."""
    if not root.is_dir():
        hint = "--out is the folder that `lq-emotion study run` wrote to"
        raise FileError("folder not found", code="file-missing", file=root, hint=hint)
    if (root / FILE).is_file():
        return cloud_robotics.make_page(root)
    store = Store(root)
    try:
        finished = store.table is not None
    except CaffeCompatError:
        finished = False  # the parts report what is damaged
    return Report(
        "Robust emotion recognition from low-quality video",
        tuple(_lead(store)),
        sections(
            {title: [partial(part, store) for part in parts] for title, parts in PARTS.items()}, finished=finished
        ),
    )


def _lead(store: Store) -> Iterator[Text]:
    yield Text(f"Results of one run, compared with the paper ({_PAPER}).")
    try:
        if store.synthetic:
            origin = "Synthetic recordings: the faces are drawn, no person was filmed."
            yield Text(f"{origin} No number here says anything about people.", "warning")
        with store.contents():
            yield from _in_short(store)
    except (CaffeCompatError, OSError):
        return  # the parts report what is wrong


def _in_short(store: Store) -> Iterator[Text]:
    if store.table is None:
        return
    ccc = {(cell.method, cell.factor): cell.measured.ccc for cell in store.table.cells}
    parts = [f"HR reaches a CCC of **{number(ccc[Method.HR, 1])}**"] if (Method.HR, 1) in ccc else []
    for s in dict.fromkeys((min(store.scales), max(store.scales))):
        scores = [f"{m} {number(ccc[m, s])}" for m in (Method.LR, Method.JOINT_OA) if (m, s) in ccc]
        parts += [f"{' and '.join(scores)} at s = {s}"] if scores else []
    if parts:
        preset, seed = store.table.settings.preset, store.table.settings.seed
        switches = describe_settings(store.switches)
        settings = f"preset {preset}, seed {seed}" + (switches and f", {switches}")
        yield Text(f"In short: {', '.join(parts)} ({settings}; the paper's HR: 0.325).")


@dataclass(frozen=True)
class Written(Record):
    """A report that was written: its files, tables and figures by section, and lines about what is missing."""

    page: Path
    markdown: Path
    sections: Mapping[str, Mapping[str, int]]
    absent: tuple[str, ...]


def report_on(root: Path) -> Written:
    """Write the report of a folder of results, ROOT/report/report.html and report.md."""
    report = make_report(root)
    files = write_report(report, root / "report")
    sections = {
        section.title: {
            "tables": sum(isinstance(block, Table) for block in section.blocks),
            "figures": sum(isinstance(block, Figure) for block in section.blocks),
        }
        for section in report.sections
    }
    return Written(*files, sections, tuple(report.notes))


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write report.html, and report.md with its figures in report_figures; return the paths of both forms."""
    page_path, markdown_path, figures = (folder / f"report{end}" for end in (".html", ".md", "_figures"))
    figures.mkdir(parents=True, exist_ok=True)
    for figure in report.figures:
        with atomic_path(figures / f"{figure.name}.png") as partial:
            partial.write_bytes(figure.png)
    for path in set(figures.glob("*.png")) - {figures / f"{figure.name}.png" for figure in report.figures}:
        path.unlink()  # an earlier report's
    for path, text in ((markdown_path, markdown(report, figures.name)), (page_path, page(report))):
        with atomic_path(path) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files are bytes
    return page_path, markdown_path
