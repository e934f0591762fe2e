"""Damaged files of states: where a run's data stood, a PyTorch state_dict, JSON of a sidecar, JSON of runs.

Run as ``python -m tests.fuzz.stored SEED START STOP FOLDER``.
"""

import contextlib
import io
import json
import random
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch

from caffe_compat.build.net import load_net
from caffe_compat.build.preprocess import read_preprocessing
from caffe_compat.build.weights import caffe_blobs
from caffe_compat.cli import main as command
from caffe_compat.errors import CaffeCompatError
from caffe_compat.formats.files import parse_text
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver import Solver
from lq_emotion.common.json_files import read_json
from tests.fuzz import states
from tests.fuzz.mutate import damaged_bytes
from tests.fuzz.seeds import MODEL
from tests.fuzz.worker import main
from tests.solver.case import SOLVER, write_case

KINDS = ("resume.npz", "resume.npz", "pt", "pt", "json", "state", "state")
PREPROCESSING = {"version": 1, "channels": "RGB", "resize": [8, 9], "crop": [7, 7], "mean": [1.0, 2, 3], "scale": 0.5}
ODD = (None, True, -1, 2**70, 1e400, "", "é", [], {}, [[]], [None], {"shape": [2**40], "float32": ""})


class Stored:
    """The cases of a seed, in a folder of their own."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder = seed, folder
        write_case(folder)
        self.solver().step(5)
        self.npz = (folder / "snap_iter_5.resume.npz").read_bytes()
        (folder / "model.prototxt").write_text(MODEL)
        self.state = dict(load_net(parse_text(MODEL, pb.NetParameter), seed=0).state_dict())
        torch.save(self.state, folder / "good.pt")
        self.pt = (folder / "good.pt").read_bytes()
        self.convert(folder / "good.pt")
        self.solver().restore(folder / "snap_iter_5.solverstate")
        self.root = folder / "root"
        states.write_all(self.root)
        for name in states.GOOD:
            if not states.use(name, self.root):
                raise RuntimeError(f"{name} is refused as it is")

    def solver(self) -> Solver:
        """Return a solver whose files lie in the folder."""
        param = parse_text(SOLVER, pb.SolverParameter)
        param.snapshot_prefix = str(self.folder / "snap")
        return Solver(param, base_dir=self.folder)

    def run(self, number: int) -> tuple[str, Path, bool]:
        """Make the file of a case and use it; return its kind, the file, and whether it was taken."""
        rng = random.Random(f"{self.seed}:{number}")
        kind = rng.choice(KINDS)
        if kind == "resume.npz":
            file = self.folder / "snap_iter_5.resume.npz"
            file.write_bytes(damaged_bytes(self.npz, rng) if rng.random() < 0.4 else _changed_npz(self.npz, rng))
            return kind, file, self.restore(file)
        if kind == "pt":
            file = self.folder / "case.pt"
            if rng.random() < 0.4:
                file.write_bytes(damaged_bytes(self.pt, rng))
            else:
                _write_changed_state(self.state, file, rng)
            return kind, file, self.convert(file)
        if kind == "state":
            name = rng.choice(sorted(states.GOOD))
            file = states.write(name, states.misshapen(states.GOOD[name], rng), self.root)
            taken = states.use(name, self.root)
            states.write(name, states.GOOD[name], self.root)
            return kind, file, taken
        file = self.folder / "case.json"
        file.write_bytes(_changed_json(rng))
        return kind, file, self.read(file)

    def restore(self, file: Path) -> bool:
        """Go on from the state next to it; where it is refused nothing has changed."""
        solver = self.solver()
        before = [blob.detach().clone() for blobs in caffe_blobs(solver.net).values() for blob in blobs]
        try:
            solver.restore(self.folder / "snap_iter_5.solverstate")
        except CaffeCompatError as error:
            after = [blob for blobs in caffe_blobs(solver.net).values() for blob in blobs]
            if not all(map(torch.equal, before, after)):
                raise RuntimeError("refused after the weights had been restored") from error
            return False
        return True

    def convert(self, file: Path) -> bool:
        """Convert a state_dict to a caffemodel."""
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as stderr:
            words = ["convert", file, self.folder / "out.caffemodel", f"--model={self.folder / 'model.prototxt'}"]
            code = command([str(word) for word in words])
        if code not in (0, 1) or (code == 1 and not stderr.getvalue().startswith("caffe-compat: error: ")):
            raise RuntimeError(f"{code}: {stderr.getvalue()}")
        return code == 0

    def read(self, file: Path) -> bool:
        """Read JSON as a sidecar of weights and as a file of a run's folder."""
        try:
            read_json(file)
            read_preprocessing(file)
        except CaffeCompatError:
            return False
        return True


def _changed_npz(content: bytes, rng: random.Random) -> bytes:
    with np.load(io.BytesIO(content)) as file:
        entries = dict(file)
    name, kind = rng.choice(sorted(entries)), rng.randrange(8)
    values = entries[name]
    if kind == 0:
        del entries[name]
    elif kind == 1:
        entries[name] = values.astype(rng.choice(("f4", "u1", "i8", "U3", "M8[s]", "c8", "?")), copy=True)
    elif kind == 2:
        entries[name] = rng.choice((values[:-1], values[None], values.reshape(-1)[:0], np.int64(3), values[::-1]))
    elif kind == 3:
        entries[name] = np.full_like(values, rng.choice((-1, 0, 1, 127))) if values.dtype != np.uint8 else values ^ 255
    elif kind == 4:
        record = json.loads(entries["record"].tobytes())
        record[rng.choice(sorted(record))] = rng.choice(ODD)
        entries["record"] = np.frombuffer(json.dumps(rng.choice((record, rng.choice(ODD)))).encode(), np.uint8)
    elif kind == 5:
        entries["record"] = np.frombuffer(b"[" * rng.choice((10, 100_000)), np.uint8)
    out = io.BytesIO()
    if kind == 6:
        entries[name] = np.zeros(1 << 24, np.uint8)
        np.savez_compressed(out, **entries)
    else:
        np.savez(out, **entries)
    if kind != 7:
        return out.getvalue()
    again = io.BytesIO()  # a header that declares more than there is
    with zipfile.ZipFile(out) as old, zipfile.ZipFile(again, "w") as new:
        for member in old.infolist():
            data = old.read(member)
            if member.filename == f"{name}.npy":
                start, end = data.index(b"'shape': "), data.index(b"}", 10)
                shape = b"'shape': (%d,), " % rng.choice((2**33, -1, 0, 10**40))
                data = data[:start] + shape.ljust(end - start)[: end - start] + data[end:]
            new.writestr(member.filename, data)
    return again.getvalue()


def _write_changed_state(state: dict, file: Path, rng: random.Random) -> None:
    changed: dict = dict(state)
    name, kind = rng.choice(sorted(state)), rng.randrange(9)
    value = state[name]
    if kind == 0:
        changed[name] = value.to_sparse()
    elif kind == 1:
        changed[name] = value.to("meta")
    elif kind == 2:
        changed[name] = value.to(rng.choice((torch.complex64, torch.float16, torch.int64, torch.bool, torch.bfloat16)))
    elif kind == 3:
        changed[rng.choice((0, None, (1, 2), "\ud800", "é\n", ""))] = changed.pop(name)
    elif kind == 4:
        changed[name] = rng.choice((1.0, "x", [value], None, value.reshape(-1)[:0]))
    elif kind == 5:
        changed[name] = torch.zeros(1).expand(value.shape)
    elif kind == 6:
        changed = rng.choice(([value], value, {}, {"state_dict": changed}))
    with contextlib.suppress(UnicodeEncodeError):
        torch.save(changed, file)
    if kind == 7:  # deflated
        good = file.read_bytes()
        with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
            for member in old.infolist():
                new.writestr(member.filename, old.read(member) + bytes(rng.choice((0, 1 << 24))))
    if kind == 8:  # a pickle whose bytes are damaged, in an archive that is whole
        good = file.read_bytes()
        with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(file, "w") as new:
            for member in old.infolist():
                data = old.read(member)
                new.writestr(member.filename, damaged_bytes(data, rng) if member.filename.endswith(".pkl") else data)


def _changed_json(rng: random.Random) -> bytes:
    kind, good = rng.randrange(5), json.dumps(PREPROCESSING).encode()
    if kind == 0:
        return damaged_bytes(good, rng)
    if kind == 1:
        return rng.choice((b"[", b'{"a":')) * rng.choice((5, 100_000))
    if kind == 2:
        return json.dumps(rng.choice(ODD)).encode()
    if kind == 3:
        left_out = rng.choice(sorted(PREPROCESSING))
        return json.dumps({name: value for name, value in PREPROCESSING.items() if name != left_out}).encode()
    return json.dumps(PREPROCESSING | {rng.choice(sorted(PREPROCESSING)): rng.choice(ODD)}).encode()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]), Stored)
