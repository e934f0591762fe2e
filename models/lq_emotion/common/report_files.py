"""The files of a report: an HTML page, and Markdown with a folder of figures."""

from __future__ import annotations

from pathlib import Path

from caffe_compat.formats.files import atomic_path
from lq_emotion.common.document import Report
from lq_emotion.common.html_page import page
from lq_emotion.common.markdown import markdown


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
