"""``layers``: the support table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from caffe_compat.cli.table import write_table
from caffe_compat.layers import REGISTRY, Layer


def define(part: argparse.ArgumentParser) -> None:
    """Add the flags."""
    part.set_defaults(run=layers)
    form = part.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs")
    form.add_argument("--markdown", action="store_true", help="as the README has it")


def layers(args: argparse.Namespace) -> int:
    """List the supported layer types and what becomes of each of their fields."""
    known = [REGISTRY[name] for name in sorted(REGISTRY)]
    if args.json:
        found = {
            layer.type: {
                "summary": layer.summary,
                "fields": {
                    name: {
                        "read": list(account.read),
                        "ignored": dict(account.ignored),
                        "refused": dict(account.rejected),
                    }
                    for name, account in layer.accounts.items()
                },
            }
            for layer in known
        }
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    if args.markdown:
        sys.stdout.write(_markdown(known))
        return 0
    table = [("type", "does", "not supported")]
    table += [
        (layer.type, layer.summary, "; ".join(sorted({f for a in layer.accounts.values() for f in a.rejected})))
        for layer in known
    ]
    write_table(table)
    return 0


def _markdown(known: Sequence[Layer]) -> str:
    """Return the support table as the README has it."""
    lines = ["| layer | does | reads |", "|---|---|---|"]
    for layer in known:
        fields = [field for account in layer.accounts.values() for field in account.read]
        lines.append(f"| {layer.type} | {layer.summary} | {', '.join(fields)} |")
    return "\n".join(lines) + "\n"
