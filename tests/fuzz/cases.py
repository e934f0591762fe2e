"""One case: a file damaged as its number says, and everything a user would do with it."""

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import torch

from caffe_compat.build.net import CaffeNet, build_net, load_net
from caffe_compat.data.transform import read_mean
from caffe_compat.definition.filtering import net_state
from caffe_compat.definition.prepare import prepare
from caffe_compat.definition.upgrade import upgrade_net, upgrade_solver
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.files import (
    format_text,
    parse_text,
    plain,
    read_binary,
    read_net,
    read_solver,
    read_solverstate,
    write_binary,
)
from caffe_compat.layers.base import count
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from caffe_compat.tools.feeds import feed
from tests.fuzz.mutate import damaged_bytes, damaged_hdf5, damaged_message, damaged_text, extreme_text
from tests.fuzz.seeds import MODEL, nets, solvers, write_files

VALUES = 300_000
"""Most values of a net (blobs and parameters together) that a case computes with."""
TEXTS = ("net", "net", "net", "net", "solver")
BINARIES = ("caffemodel", "caffemodel", "caffemodel.h5", "solverstate", "solverstate.h5", "binaryproto")


class Cases:
    """The cases of a seed, in a folder of their own."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.folder = folder
        self.files = write_files(folder)
        for text in nets():  # what is imported at its first use is no case's memory
            (folder / "case.net").write_text(text)
            with contextlib.suppress(CaffeCompatError):
                self.use_net(folder / "case.net")

    def run(self, number: int) -> tuple[str, Path, bool]:
        """Make the file of a case and use it; return its kind, the file, and whether it was taken."""
        rng = random.Random(f"{self.seed}:{number}")
        kind = rng.choice(TEXTS if number % 2 else BINARIES)
        file = self.folder / f"case.{kind}"
        use: Callable[[Path], None]
        if kind in TEXTS:
            text = rng.choice(nets() if kind == "net" else solvers())
            file.write_bytes(_damaged(text, pb.NetParameter if kind == "net" else pb.SolverParameter, rng))
            use = self.use_net if kind == "net" else self.use_solver
        else:
            self._write_binary(kind, file, rng)
            use = self.use_weights if "model" in kind else self.use_state if "state" in kind else self.use_mean
        try:
            use(file)
        except CaffeCompatError as error:
            message = str(error)
            if not message or "\n" in message.replace("\n  ", " "):
                raise RuntimeError(f"an error of several lines, or of none: {message!r}") from error
            return kind, file, False
        except OSError:
            return kind, file, False
        return kind, file, True

    def _write_binary(self, kind: str, file: Path, rng: random.Random) -> None:
        good = self.files[kind].read_bytes()
        structure = rng.random() < 0.5
        if structure and not kind.endswith("h5"):
            cls = {"caffemodel": pb.NetParameter, "solverstate": pb.SolverState, "binaryproto": pb.BlobProto}[kind]
            file.write_bytes(damaged_message(cls.FromString(good), rng).SerializePartialToString())
            return
        file.write_bytes(good if structure else damaged_bytes(good, rng))
        if structure:
            damaged_hdf5(file, rng)

    def use_net(self, file: Path) -> None:
        """Read, upgrade, build in both phases, run what is small."""
        net = read_net(file)
        format_text(net)
        upgrade_net(net)
        faults = []
        for phase in ("TRAIN", "TEST"):
            try:
                fed = feed(prepare(net, net_state(phase), base_dir=self.folder))
                built = build_net(fed.graph, empty=True)
                if _small(built):
                    built = build_net(fed.graph, seed=0)
                    built.every_blob(fed.made_up_batch())
            except CaffeCompatError as error:
                faults.append(error)
        if faults:
            raise faults[0]

    def use_solver(self, file: Path) -> None:
        """Read, upgrade, and make the solver."""
        solver = upgrade_solver(read_solver(file))
        format_text(solver)
        Solver(solver, base_dir=self.folder)

    def use_weights(self, file: Path) -> None:
        """Read, write back, and give a net the weights."""
        if not file.name.endswith("h5"):
            net, store = read_binary(file, pb.NetParameter)
            plain(net)
            write_binary(net, self.folder / "again", store)
            upgrade_net(net)
        load_net(parse_text(MODEL, pb.NetParameter), file, seed=0)

    def use_state(self, file: Path) -> None:
        """Read a solver's state."""
        read_solverstate(file)

    def use_mean(self, file: Path) -> None:
        """Read a mean picture."""
        layer = pb.LayerParameter(name="data", type="Data")
        layer.transform_param.mean_file = str(file)
        read_mean(layer, self.folder)


def _damaged(text: str, cls: type, rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.3:
        return damaged_bytes(text.encode(), rng)
    if kind < 0.5:
        return damaged_text(text, rng).encode("utf-8", "surrogatepass")
    if kind < 0.55:
        return extreme_text(text, rng).encode()
    message = parse_text(text, cls)
    return format_text(damaged_message(message, rng)).encode("utf-8", "surrogateescape")


def _small(net: CaffeNet) -> bool:
    graph = net.caffe
    blobs = sum(count(shape) for shape in graph.shapes.values())
    return blobs + graph.parameter_count() <= VALUES and not any(n.type == "HDF5Output" for n in graph.nodes)


torch.set_num_threads(1)
