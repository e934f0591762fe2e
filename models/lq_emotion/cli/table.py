"""``lq-emotion table``: Table 1 of the first paper, from recordings."""

from __future__ import annotations

import argparse
import json

from lq_emotion.cli.options import teller
from lq_emotion.cli.robust_lq_options import add_plan, list_stages, plan_of, study_of


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "run the missing stages of the paper's experiment, and compare the results with Table 1"
    table = commands.add_parser("table", help=text, description=text, allow_abbrev=False)
    add_plan(table)
    table.set_defaults(run=_table)


def _table(args: argparse.Namespace) -> int:
    from lq_emotion.studies.robust_lq.plan import Part
    from lq_emotion.studies.robust_lq.tables import table_markdown

    plan = plan_of(args, [Part.TABLE])
    study = study_of(args, plan, teller(args))
    if args.dry_run:
        list_stages(study)
        return 0
    tables = study.tables()
    if args.json:
        every = [results.to_json() for results in tables]
        print(json.dumps(every[0] if len(every) == 1 else every, indent=2))
        return 0
    for results, folder in zip(tables, plan.score_folders.values(), strict=True):
        print(f"\n{table_markdown(results)}")
        for name in ("table.md", "table.csv", "table.tex", "table.png", "table.json"):
            print(f"  {plan.out / 'table' / folder / name}")
    return 0
