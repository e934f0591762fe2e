"""How long trainings will take on this machine, from iterations timed before the first of them begins.

``python -m lq_emotion.training.estimate`` times in a process of its own, which leaves the caller's
threads, random numbers and memory alone: JSON in on stdin, JSON out on stdout.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from caffe_compat.errors import SolverError
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets import definitions
from lq_emotion.nets.builder import Shape
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import PaperSwitches
from lq_emotion.training.overrides import Changes

LEAST = 50
"""Trainings with fewer iterations left are not worth timing."""
_TESTED = 8  # samples of a test's batch that are timed; they need no more time each than all of them
_TIMED = 3  # iterations, after one that is not counted
_PATIENCE = 20.0  # seconds for the iterations of a net, but for the first two


@dataclass(frozen=True)
class PlannedTraining:
    """What decides how long a training takes.

    Attributes
    ----------
    net : what is trained.
    changes : of its definition and solver: fields of `overrides.Changes`.
    factors : how many times smaller than 96 x 96 its faces are.
    folder : its run's.
    """

    net: Net
    changes: dict[str, Any]
    factors: tuple[int, ...]
    folder: Path

    def solver(self, switches: PaperSwitches) -> pb.SolverParameter:
        """Return its solver, the changes made."""
        solver = definitions.builder(self.net).solver(switches)
        Changes(**self.changes).apply_to(solver)
        return solver

    def done(self) -> int:
        """Return how many iterations lie in its snapshots."""
        names = [path.stem for path in (self.folder / "snapshots").glob("*_iter_*.solverstate")]
        counts = [int(name.rpartition("_")[2]) for name in names if name.rpartition("_")[2].isdigit()]
        return max(counts, default=0)


@dataclass(frozen=True)
class Estimate:
    """How long a training will take: seconds, and what they are made of."""

    run: str
    net: Net
    iterations: int
    seconds_per_iteration: float
    test_batches: int
    seconds_per_test_batch: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.iterations * self.seconds_per_iteration + self.test_batches * self.seconds_per_test_batch


def estimate(
    trainings: Sequence[PlannedTraining], switches: PaperSwitches, *, threads: int, device: str
) -> list[Estimate]:
    """Time each different net among some trainings, and return how long each training will take; short ones left out.

    Raises
    ------
    SolverError
        A net cannot be timed.
    """
    left = [max(one.solver(switches).max_iter - one.done(), 0) for one in trainings]
    asked = [(one, count) for one, count in zip(trainings, left, strict=True) if count >= LEAST]
    nets = list(dict.fromkeys(_net(one) for one, _ in asked))
    if not nets:
        return []
    request = {"nets": nets, "switches": asdict(switches), "threads": threads, "device": device}
    times = dict(zip(nets, _elsewhere(request), strict=True))
    estimates = []
    for one, count in asked:
        solver = one.solver(switches)
        tests = (count // solver.test_interval + 1) * solver.test_iter[0]
        iteration, test = times[_net(one)]
        estimates.append(Estimate(one.folder.name, one.net, count, iteration, tests, test))
    return estimates


def _net(one: PlannedTraining) -> str:
    """Return what decides a net's time, as JSON."""
    return json.dumps([one.net, one.changes.get("batch"), list(one.factors)])


def _elsewhere(request: dict[str, Any]) -> list[tuple[float, float]]:
    command = [sys.executable, "-P", "-m", __name__]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    text = json.dumps(request)
    done = subprocess.run(command, input=text, env=env, capture_output=True, text=True, check=False)  # noqa: S603 (ours)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise SolverError(f"timing an iteration failed: {lines[-1]}", code="worker-lost")
    return [(iteration, test) for iteration, test in json.loads(done.stdout)]


def _time_all(request: dict[str, Any]) -> list[tuple[float, float]]:
    import torch

    from lq_emotion.common.devices import choose_device

    torch.set_num_threads(request["threads"])
    switches, device = PaperSwitches(**request["switches"]), choose_device(request["device"])
    nets = (json.loads(net) for net in request["nets"])
    return [_time(net, batch, factors, switches, device) for net, batch, factors in nets]


def _time(net: str, batch: int | None, factors: list[int], switches: PaperSwitches, device: Any) -> tuple[float, float]:
    """Return the seconds of an iteration and of a batch of a test, on data that are made up."""
    from caffe_compat.solver import Solver
    from lq_emotion.training.net import make_net
    from lq_emotion.training.training_run import valence_ccc

    builder = definitions.builder(net)
    sources = {phase: [Path("none")] * len(factors) for phase in ("train", "test")}
    message, _ = make_net(builder, switches, factors, sources, batch=batch, filler="xavier")
    share = _make_up(message, [builder.sample_shapes(switches, factor) for factor in factors])
    solver = builder.solver(switches)
    for name in ("net", "snapshot", "display"):
        solver.ClearField(name)
    solver.net_param.CopyFrom(message)
    solver.test_iter[:], solver.test_interval, solver.test_initialization = [1], 1_000_000_000, False
    solver.max_iter, solver.snapshot_after_train, solver.random_seed = 1_000_000_000, False, 1
    solver.base_lr = 0.0  # weights that grow beyond all measure would change the times
    criterion = valence_ccc if builder.predicts_valence and switches.loss == "ccc" else None
    with Solver(solver, device=device, criterion=criterion) as running:
        running.step(1)
        iteration = _median(lambda: running.step(1), device)
        running.test(0)
        return iteration, _median(lambda: running.test(0), device) / share


def _make_up(message: pb.NetParameter, samples: Sequence[tuple[Shape, Shape]]) -> float:
    """Put constants in the place of a net's data; return which part of a test's batch is left."""
    share = 1.0
    for phase in (pb.TRAIN, pb.TEST):
        layers = [one for one in message.layer if one.type == "HDF5Data" and one.include[0].phase == phase]
        for layer, shapes in zip(layers, samples, strict=True):
            batch = layer.hdf5_data_param.batch_size
            if phase == pb.TEST:
                share = min(1.0, _TESTED / batch)
                batch = round(share * batch)
            layer.type = "DummyData"
            layer.ClearField("hdf5_data_param")
            for shape in shapes:
                layer.dummy_data_param.shape.add().dim.extend([batch, *shape])
                layer.dummy_data_param.data_filler.add(type="constant", value=0.5)
    return share


def _median(work: Callable[[], object], device: Any) -> float:
    import torch

    times: list[float] = []
    while len(times) < _TIMED and (not times or sum(times) < _PATIENCE):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def told(estimates: Sequence[Estimate]) -> str:
    """Return a line for the user."""
    total = sum(one.seconds for one in estimates)
    each = {one.net: one for one in estimates}
    nets = ", ".join(f"{net} {one.seconds_per_iteration:.2g} s an iteration" for net, one in each.items())
    return f"training will take about {_duration(total)} here, one net after another ({nets}, timed just now)"


def _duration(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} seconds"


def to_json(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """Return what a program may read."""
    trainings = [{**asdict(one), "seconds": one.seconds} for one in estimates]
    return {"seconds": sum(one.seconds for one in estimates), "trainings": trainings}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_time_all(json.load(sys.stdin))))
