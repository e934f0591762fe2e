"""``lq-emotion report``: what was run and found, as one HTML page and as Markdown."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lq_emotion.cli.options import add_dimension


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "write an HTML page and Markdown about the results of the other commands in a folder"
    report = commands.add_parser("report", help=text, description=text, allow_abbrev=False)
    option = report.add_argument
    option("--out", type=Path, required=True, metavar="ROOT", help="the folder to report on")
    add_dimension(report, both=False)
    option("--page", type=Path, metavar="FILE", help="HTML file (default ROOT/report/report.html)")
    help_text = "Markdown file, with images in a folder beside it (default ROOT/report/report.md)"
    option("--markdown", type=Path, metavar="FILE", help=help_text)
    option("--json", action="store_true", help="print the report as JSON")
    report.set_defaults(run=_report)


def _report(args: argparse.Namespace) -> int:
    from lq_emotion.datasets.avec.layout import dimension_root
    from lq_emotion.report.build import make_report, summary, write_report

    root = dimension_root(args.out, args.dimension)
    page = args.page or root / "report" / "report.html"
    markdown = args.markdown or root / "report" / "report.md"
    report = make_report(root)
    write_report(report, page, markdown)
    contents = summary(report)
    if args.json:
        print(json.dumps({"page": str(page), "markdown": str(markdown), **contents}, indent=2))
        return 0
    for title, counts in contents["sections"].items():
        print(f"{title:28} {counts['tables']:>2} tables  {counts['figures']:>2} figures")
    for line in contents["absent"]:
        print(f"absent: {line}")
    for path in (page, markdown):
        print(f"  {path}")
    return 0
