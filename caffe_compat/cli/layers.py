"""``layers``: list the supported layer types."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from caffe_compat.cli.table import write_table
from caffe_compat.layers import Layer, every_layer


def define(part: argparse.ArgumentParser) -> None:
    """Add the flags."""
    form = part.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="write JSON")
    form.add_argument("--forks", action="store_true", help="the list of docs/forks.md")


def run(args: argparse.Namespace) -> int:
    """List the supported layer types and which of their fields are read, ignored or refused."""
    types = every_layer()
    if args.json:
        by_name = {
            f"{layer.type}{_mark(layer)}": {
                "summary": layer.summary,
                "forks": list(layer.forks),
                "fields": {
                    name: {
                        "read": list(account.read),
                        "ignored": dict(account.ignored),
                        "refused": dict(account.rejected),
                    }
                    for name, account in layer.accounts.items()
                },
            }
            for layer in types
        }
        sys.stdout.write(json.dumps(by_name) + "\n")
        return 0
    if args.forks:
        sys.stdout.write(_fork_layers([layer for layer in types if layer.forks]))
        return 0
    table = [("type", "does", "not supported")]
    for layer in types:
        rejected = sorted({field for account in layer.accounts.values() for field in account.rejected})
        table.append((f"{layer.type}{_mark(layer)}", layer.summary, "; ".join(rejected)))
    write_table(table)
    return 0


def _mark(layer: Layer) -> str:
    """Return the suffix of a type that is not Caffe's own."""
    return f" (fork: {', '.join(layer.forks)})" if layer.forks else " (own)" if layer.own else ""


def _fork_layers(types: Sequence[Layer]) -> str:
    """Return the list of docs/forks.md: the file that each layer follows, and its check."""
    return "".join(
        f"- **{layer.type}** ({', '.join(layer.forks)}): {layer.summary}. "
        f"{layer.evidence or 'No check'}: `{layer.origin}`\n"
        for layer in types
    )
