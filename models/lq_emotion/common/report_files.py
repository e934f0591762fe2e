"""The files of a report: an HTML page, and Markdown with a folder of figures."""

from __future__ import annotations

from pathlib import Path

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.document import Report
from lq_emotion.common.html_page import page
from lq_emotion.common.markdown import markdown


def write_report(report: Report, page_path: Path, markdown_path: Path) -> None:
    """Write both forms; the figures of the Markdown go to a folder named after it."""
    figures = markdown_path.with_name(f"{markdown_path.stem}_figures")
    for folder in (page_path.parent, figures):
        folder.mkdir(parents=True, exist_ok=True)
    for figure in report.figures:
        with atomic_path(figures / f"{figure.name}.png") as partial:
            partial.write_bytes(figure.png)
    for path in set(figures.glob("*.png")) - {figures / f"{figure.name}.png" for figure in report.figures}:
        path.unlink()  # an earlier report's
    for path, text in ((markdown_path, markdown(report, figures.name)), (page_path, page(report))):
        with atomic_path(path) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files are bytes
