"""Survey the definitions below a folder: which are built, and the one thing that each of the others lacks."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch

from caffe_compat.build.executor import is_computed
from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import PreparedNet, prepare
from caffe_compat.errors import CaffeCompatError, FileError
from caffe_compat.formats.files import read_bytes, read_net
from caffe_compat.formats.kinds import is_label_map, is_solver
from caffe_compat.formats.sniff import is_text
from caffe_compat.layers import BlobDef, LayerSpec, Shape, facts
from caffe_compat.layers.python import Python, class_name, python_layers
from caffe_compat.tools.feeds import feed
from caffe_compat.tools.lint.target import is_deploy

SUFFIXES = (".prototxt", ".pt", ".txt")
"""Endings of the files that may be definitions."""


class Lack(enum.StrEnum):
    """The fault of a definition that is refused."""

    LAYER = "layer type"
    FIELD = "field"
    FORK = "name of the fork"
    PYTHON = "Python layer"
    SHAPE = "shape of"
    DATA = "file"
    FAULT = "a fault in the definition"


_LACKS: Mapping[str, Lack] = {
    "type-unknown": Lack.LAYER,
    "field-unknown": Lack.FIELD,
    "ambiguous": Lack.FORK,
    "unsafe": Lack.PYTHON,
    "shape-unknown": Lack.SHAPE,
    "file-missing": Lack.DATA,
    "file-unreadable": Lack.DATA,
}


class Kind(enum.StrEnum):
    """Kind of a file's content."""

    NET = "net"
    SOLVER = "solver"
    LABEL_MAP = "label map"
    OTHER = "other file"


@dataclass(frozen=True)
class Shapes:
    """A line of the table of shapes: facts that definitions do not contain."""

    pattern: str
    """Path below the surveyed folder; ``*`` matches anything, slashes too."""
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    """Of tops of data layers and of Python layers, by blob."""
    forks: tuple[str, ...] = ()
    """The forks the definitions were written for."""


@dataclass(frozen=True)
class Surveyed:
    """One definition below the surveyed folder."""

    path: str
    lack: Lack | None = None
    """None if it is built in all its phases."""
    name: str = ""
    """The layer type, the field, the blob, ... that it lacks."""
    problem: str = ""
    """The error's text; "" if it is built."""
    python: tuple[str, ...] = ()
    """Its Python layers, whose shapes were given and whose code was not run."""

    @property
    def folder(self) -> str:
        """Return the first folder of the path, "." for a file without one."""
        return self.path.split("/")[0] if "/" in self.path else "."

    @property
    def missing(self) -> str:
        """Return the missing part of the definition, "" if it is built."""
        return "" if self.lack is None else f"{self.lack} {self.name}".rstrip()

    def to_json(self) -> dict[str, Any]:
        """Return the definition as JSON has it."""
        return {**asdict(self), "built": self.lack is None}


def kind_of(path: Path) -> Kind:
    """Return the kind of a file's content; an unreadable text with another ending than ``.txt`` counts as a net."""
    if not is_text(read_bytes(path)[:4096]):
        return Kind.OTHER
    if path.suffix != ".txt" and is_solver(path):
        return Kind.SOLVER
    try:
        net = read_net(path)
    except CaffeCompatError as error:
        return Kind.OTHER if path.suffix == ".txt" or error.code == "wrong-format" else Kind.NET
    if is_label_map(net):
        return Kind.LABEL_MAP
    return Kind.NET if net.layer or net.layers else Kind.OTHER


def files(folder: Path) -> list[Path]:
    """Return the files below a folder that may be definitions, in order; hidden folders are left out."""
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "folder does not exist"
        raise FileError(problem, code="wrong-format" if folder.exists() else "file-missing", file=folder)
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def survey(path: Path, folder: Path, table: Sequence[Shapes] = (), forks: Sequence[str] = ()) -> Surveyed:
    """Build a definition in each phase, with shapes by pattern; of two lines about one blob the later counts."""
    name = path.relative_to(folder).as_posix()
    lines = [line for line in table if fnmatch(name, line.pattern)]
    shapes = {blob: shape for line in lines for blob, shape in line.shapes.items()}
    named = [*(fork for line in reversed(lines) for fork in line.forks), *forks]
    python: dict[str, None] = {}
    try:
        for prepared in states(path, named):
            layers = _GivenShapes(shapes)
            with python_layers(layers):
                _build(prepared, shapes)
            python |= dict.fromkeys(layers.classes)
    except CaffeCompatError as error:
        return Surveyed(name, *lack(error))
    return Surveyed(name, python=tuple(python))


def states(path: Path, forks: Sequence[str]) -> Iterator[PreparedNet]:
    """Yield a net in each phase it is meant for: in which a layer feeds it; of a net for inference, in one."""
    both = [prepare(path, net_state(phase), fork=forks) for phase in ("TEST", "TRAIN")]
    fed = [net for net in both if any(not layer.bottom for layer in net.message.layer)] or both
    yield from fed[:1] if all(is_deploy(net.message) for net in fed) else fed


def lack(error: CaffeCompatError) -> tuple[Lack, str, str]:
    """Return the first missing part: its kind, its name, and the problem in words."""
    first = min(error.problems, key=lambda problem: list(Lack).index(_lack_of(problem)))
    kind = _lack_of(first)
    if kind is Lack.FAULT:
        return kind, f"({first.code})", str(first)
    named = first.value if kind is not Lack.FIELD and first.value is not None else first.field
    return kind, str(named if kind is not Lack.DATA else first.file or named), str(first)


def _lack_of(problem: CaffeCompatError) -> Lack:
    if problem.code == "unsupported":
        return Lack.LAYER if problem.field == "type" else Lack.FIELD
    return _LACKS.get(problem.code, Lack.FAULT)


def _build(net: PreparedNet, shapes: Mapping[str, Shape]) -> None:
    """Give every blob its shape and make every module, without memory for its weights; no data need be there."""
    fed = {top for layer in net.message.layer if facts(layer.type).is_data for top in layer.top}
    with (
        feed(net, input_shapes={blob: shape for blob, shape in shapes.items() if blob in fed}) as fed_net,
        torch.device("meta"),
    ):
        for node in fed_net.graph.nodes:
            if is_computed(node) and not isinstance(node.layer, Python):
                node.layer.module(node.spec)


@dataclass
class _GivenShapes:
    """Stands in for the classes of Python layers: their tops have the given shapes, their code is not run."""

    shapes: Mapping[str, Shape]
    classes: list[str] = field(default_factory=list)

    def blobs(self, spec: LayerSpec) -> tuple[BlobDef, ...]:
        """Return no blobs; refuse a top without a given shape. (The rest of the net is checked nevertheless.)"""
        name = class_name(spec)
        for top in spec.param.top:
            if top not in self.shapes:
                problem, hint = f"the class makes the blob {top!r}, whose shape is not given", "give it in --shapes"
                raise spec.error(problem, "python_param.layer", name, hint, code="unsafe")
        self.classes.append(name)
        return ()

    def top_shapes(self, spec: LayerSpec) -> tuple[Shape, ...]:
        """Return the given shapes."""
        return tuple(self.shapes[top] for top in spec.param.top)
