"""``lq-emotion study``: all that a paper reports, from recordings to a report, by one command."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lq_emotion.cli.cloud_robotics import add_cloud_robotics
from lq_emotion.cli.options import at_least, teller
from lq_emotion.cli.robust_lq_options import add_plan, list_stages, plan_of, study_of

_PARTS = ("table", "comparisons", "mismatch", "ablations", "figures", "figure4", "submission")
_FILES = (
    *("table/table.md", "table/valence/table.md", "table/arousal/table.md"),
    *("study/comparisons.md", "study/variants.md", "rd/rd_x264.png", "rd/rd_x265.png", "report/report.html"),
)
_QPS = tuple(range(12, 45, 4))


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser, with one for each study."""
    text = "run a paper's whole study: what is missing of its trainings, tables, figures and report"
    study = commands.add_parser("study", help=text, description=text, allow_abbrev=False)
    studies = study.add_subparsers(dest="study", metavar="STUDY", required=True)
    text = "Robust Emotion Recognition from Low Quality and Low Bit Rate Video (arXiv 1709.03126)"
    robust_lq = studies.add_parser("robust-lq", help=text, description=text, allow_abbrev=False)
    text = (
        "table: Table 1; comparisons: intervals and tests of its numbers; mismatch: HR nets on LR faces; ablations: "
        "other mixtures and pre-trainings (footnote 1); figures: Figures 1 to 3; figure4: recognition from coded "
        "video; submission: estimates for test recordings without labels, if there are any (default: all)"
    )
    robust_lq.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, metavar="PART", help=text)
    add_plan(robust_lq)
    group = robust_lq.add_argument_group("Figure 4")
    text = "quantisers (default 12 16 .. 44)"
    group.add_argument("--qps", nargs="+", type=at_least(0), default=_QPS, metavar="QP", help=text)
    text = "x264, x265, vp9, av1, mpeg4 (default x264 x265)"
    group.add_argument("--codecs", nargs="+", default=("x264", "x265"), metavar="NAME", help=text)
    text = "code the first N frames of each recording (default: all)"
    group.add_argument("--coded-frames", type=at_least(1), metavar="N", help=text)
    robust_lq.set_defaults(run=_robust_lq)
    add_cloud_robotics(studies)


def _robust_lq(args: argparse.Namespace) -> int:
    from lq_emotion.report.build import make_report, write_report
    from lq_emotion.studies.robust_lq.plan import CodedPlan, Part
    from lq_emotion.studies.robust_lq.tables import table_markdown

    say = teller(args)
    scales = tuple(s for s in CodedPlan().scales if s in args.scales) or tuple(args.scales)[:1]
    coded = CodedPlan(scales, tuple(args.codecs), tuple(sorted(set(args.qps))), args.coded_frames)
    plan = plan_of(args, [Part(part) for part in dict.fromkeys(args.only)], coded)
    study = study_of(args, plan, say)
    if args.dry_run:
        list_stages(study)
        return 0
    tables = study.tables()
    if len(tables) == 1:  # a report is of one dimension
        page, text = plan.out / "report" / "report.html", plan.out / "report" / "report.md"
        write_report(make_report(plan.out), page, text)
    if args.json:
        contents = [table.to_json() for table in tables]
        print(json.dumps(contents if len(contents) > 1 else contents[0], indent=2))
        return 0
    for table in tables:
        print(f"\n{table_markdown(table)}")
    for path in filter(Path.is_file, (plan.out / name for name in _FILES)):
        print(f"  {path}")
    return 0
