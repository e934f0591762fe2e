"""Estimate the time of trainings on this machine, from iterations that are timed before the first one begins.

They are timed in a process of its own, which leaves the caller's threads, random numbers and memory alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffe_compat.errors import CaffeCompatError, SolverError
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.processes import processes
from lq_emotion.common.records import Record
from lq_emotion.nets import definitions
from lq_emotion.nets.definitions import Shape
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import PaperSwitches
from lq_emotion.training.settings import TrainingSettings

LEAST = 50
"""Trainings with fewer iterations to go are not worth timing."""
_TESTED = 8  # samples of a test's batch that are timed; a sample of a larger batch takes as long
_TIMED = 3  # iterations, after one that is not counted
_PATIENCE = 20.0  # seconds for the iterations of a net after the first two
_TimedNet = tuple[Net, int | None, tuple[int, ...]]
"""Net, batch and factors, which decide the time of an iteration."""


PlannedTraining = tuple[TrainingSettings, tuple[int, ...]]
"""A training, and how many times smaller than 96 x 96 its faces are."""


@dataclass(frozen=True)
class Estimate(Record):
    """The estimated time of a training."""

    run: str
    net: Net
    iterations: int
    seconds_per_iteration: float
    test_batches: int
    seconds_per_test_batch: float

    @property
    def seconds(self) -> float:
        """The whole training."""
        return self.iterations * self.seconds_per_iteration + self.test_batches * self.seconds_per_test_batch

    def to_json(self) -> dict[str, Any]:
        """Return the entry in logs/estimate.json."""
        return {**super().to_json(), "seconds": self.seconds}


def estimate(trainings: Sequence[PlannedTraining], *, threads: int) -> list[Estimate]:
    """Time each different net of some trainings, and return how long each training will take, without short ones."""
    planned = []
    for settings, factors in trainings:
        solver = definitions.builder(settings.net).solver(settings.switches)
        settings.changes.apply_to(solver)
        iterations = solver.max_iter - _done(settings.out)
        if iterations >= LEAST:
            net = (settings.net, settings.changes.batch, factors)
            planned.append((settings.out.name, net, iterations, solver))
    timed = list(dict.fromkeys(net for _, net, _, _ in planned))
    if not timed:
        return []
    switches, device = trainings[0][0].switches, trainings[0][0].device
    times = dict(zip(timed, _time_in_process(timed, switches, threads, device), strict=True))
    estimates = []
    for run, net, iterations, solver in planned:
        batches = (iterations // solver.test_interval + 1) * solver.test_iter[0]
        iteration, test_batch = times[net]
        estimates.append(Estimate(run, net[0], iterations, iteration, batches, test_batch))
    return estimates


def _done(folder: Path) -> int:
    """Return how many iterations the snapshots of a run have."""
    names = [path.stem for path in (folder / "snapshots").glob("*_iter_*.solverstate")]
    counts = [int(name.rpartition("_")[2]) for name in names if name.rpartition("_")[2].isdigit()]
    return max(counts, default=0)


def describe(trainings: Sequence[Estimate]) -> str:
    """Return a line for the user."""
    total = sum(training.seconds for training in trainings)
    per_iteration = {training.net: training.seconds_per_iteration for training in trainings}
    nets = ", ".join(f"{net} {seconds:.2g} s an iteration" for net, seconds in per_iteration.items())
    return f"training will take about {_duration(total)} here, one net after another ({nets}, timed just now)"


def _time_in_process(
    nets: Sequence[_TimedNet], switches: PaperSwitches, threads: int, device: str
) -> list[tuple[float, float]]:
    try:
        with processes(1) as workers:
            return workers.submit(_time_all, nets, switches, threads, device).result()
    except (CaffeCompatError, MemoryError, OSError, RuntimeError) as error:
        raise SolverError(f"timing an iteration failed: {error}", code="worker-lost") from error


def _time_all(
    nets: Sequence[_TimedNet], switches: PaperSwitches, threads: int, device: str
) -> list[tuple[float, float]]:
    import torch

    from lq_emotion.common.devices import choose_device

    torch.set_num_threads(threads)
    return [_time(*net, switches, choose_device(device)) for net in nets]


def _time(
    net: Net, batch: int | None, factors: Sequence[int], switches: PaperSwitches, device: Any
) -> tuple[float, float]:
    """Return the seconds of an iteration and of a batch of a test, on constant data."""
    from caffe_compat.solver import Solver
    from lq_emotion.training.data import make_net
    from lq_emotion.training.losses import valence_ccc

    builder = definitions.builder(net)
    sources = {phase: [Path("none")] * len(factors) for phase in ("train", "test")}
    message, _ = make_net(builder, switches, factors, sources, batch=batch, filler="xavier")
    share = _fill_with_constants(message, [builder.sample_shapes(switches, factor) for factor in factors])
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


def _fill_with_constants(message: pb.NetParameter, samples: Sequence[tuple[Shape, Shape]]) -> float:
    """Replace a net's data with constants; return the part of a test's batch that remains."""
    share = 1.0
    for phase in (pb.TRAIN, pb.TEST):
        layers = [layer for layer in message.layer if layer.type == "HDF5Data" and layer.include[0].phase == phase]
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


def _duration(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} seconds"
