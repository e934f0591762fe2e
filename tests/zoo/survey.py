"""What becomes of other people's definitions: read, upgraded, built in each of their states, or refused by name."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from caffe_compat.build.net import build_net
from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.definition.upgrade import needs_upgrade, upgrade_net, upgrade_solver
from caffe_compat.errors import CaffeCompatError, FileError
from caffe_compat.formats.files import format_text, parse_text, read_net, read_solver, same
from caffe_compat.schema.caffe_pb2 import SolverParameter
from caffe_compat.tools.feeds import feed, guessed_shapes

VARIABLE = "CAFFE_COMPAT_ZOO"
BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "zoo"
RECORDS = {"siamese": (2, 28, 28), "mnist": (1, 28, 28), "cifar10": (3, 32, 32), "hdf5_classification": (4,)}
"""Size of a record of the data sets that the examples are written for, by what the path of the data holds."""


@dataclass
class Outcome:
    """What became of one file.

    Attributes
    ----------
    kind : net or solver.
    parsed, upgraded : the text was read (and writes back into the same message), and is in the current form.
    old : it needed an upgrade.
    states : state -> "built", "built, data made up" (its shape follows from crop_size and batch_size), "built, shape
        given" (that of the data set the file names), or why not.
    error : why it could not be read or upgraded.
    """

    file: Path
    kind: str = "net"
    parsed: bool = False
    upgraded: bool = False
    old: bool = False
    states: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def built(self) -> bool:
        """Whether every state was built."""
        return bool(self.states) and all(value.startswith("built") for value in self.states.values())


def folders() -> list[Path]:
    """Return the folders of definitions: those of the variable, or all of ../shared/zoo."""
    named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    return named or (sorted(path for path in BESIDE.iterdir() if path.is_dir()) if BESIDE.is_dir() else [])


def definitions(folder: Path) -> list[Path]:
    """Return the text definitions in a folder, in order."""
    return sorted(path for path in folder.rglob("*.prototxt*") if path.is_file())


def examine(file: Path) -> Outcome:
    """Read, upgrade and build one definition."""
    out = Outcome(file)
    try:
        try:
            net = read_net(file)
        except FileError as error:
            if "expected a net" not in str(error):
                raise
            return _solver(out)
        out.parsed = same(parse_text(format_text(net), type(net)), net)
        out.old = needs_upgrade(net)
        current = upgrade_net(net)
        out.upgraded = not needs_upgrade(current)
    except CaffeCompatError as error:
        out.error = str(error)
        return out
    for phase, stage in _states(current):
        name = f"{phase} {stage}".strip()
        try:
            out.states[name] = _built(net, phase, stage, file)
        except CaffeCompatError as error:
            out.states[name] = str(error)
    return out


def _solver(out: Outcome) -> Outcome:
    out.kind = "solver"
    solver = read_solver(out.file)
    out.parsed = same(parse_text(format_text(solver), SolverParameter), solver)
    out.old = solver.HasField("solver_type")
    out.upgraded = not upgrade_solver(solver).HasField("solver_type")
    return out


def _states(net) -> Iterator[tuple[str, str]]:
    stages = {stage for layer in net.layer for rule in (*layer.include, *layer.exclude) for stage in rule.stage}
    for phase in ("TRAIN", "TEST"):
        yield from ((phase, stage) for stage in ("", *sorted(stages)))


def _built(net, phase: str, stage: str, file: Path) -> str:
    stages = [stage] if stage else []
    shapes = _shapes_of_records(net, phase, stages)
    fed = feed(prepare(net, net_state(phase, stages=stages), base_dir=file.parent), input_shapes=shapes)
    build_net(fed.graph, empty=True)
    return "built, shape given" if shapes else "built, data made up" if fed.notes else "built"


def _shapes_of_records(net, phase: str, stages: list[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes that no field of the data layers tells, from the data set they name."""
    shapes = {}
    for layer in prepare(net, net_state(phase, stages=stages)).message.layer:
        for param in (layer.data_param, layer.hdf5_data_param):
            size = next((size for name, size in RECORDS.items() if name in param.source), None)
            if size and layer.top[0] not in guessed_shapes(layer, {}):
                shapes[layer.top[0]] = (param.batch_size, *size)
                shapes |= dict.fromkeys(layer.top[1:], (param.batch_size,))
    return shapes
