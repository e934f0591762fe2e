"""Snapshots of a solver, and going on from them. Facts from BVLC Caffe 9b89154, solver.cpp and sgd_solver.cpp."""

from __future__ import annotations

import time
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from caffe_compat.formats.files import SolverSnapshot, read_solverstate, write_solverstate
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver.resume import Place, random_states, read_resume, resume_path, write_resume
from caffe_compat.solver.snapshot import check_prefix, find_weights, fit_history, snapshot_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from caffe_compat.data import CRand
    from caffe_compat.solver.log import Log
    from caffe_compat.solver.trained import SolverNet
    from caffe_compat.solver.update import Updater
    from caffe_compat.solver.workers import Workers


class Saving:
    """The part of the solver that writes and reads its state."""

    param: pb.SolverParameter
    iter: int
    _step: int
    _train: SolverNet
    _tests: Sequence[SolverNet]
    _updater: Updater
    _rng: CRand
    _device: torch.device
    _workers: Workers
    _log: Log
    _resume: bool
    _shown: tuple[int, float]

    def snapshot(self) -> Path:
        """Write the weights and the solver's state; return the path of the state.

        Each file appears under its name only when it is complete, the weights first. Of several workers the first one
        writes them.
        """
        check_prefix(self.param)
        hdf5 = self.param.snapshot_format == pb.SolverParameter.HDF5
        kind, suffix, fmt = ("HDF5", ".h5", "HDF5") if hdf5 else ("binary proto", "", "BINARYPROTO")
        weights = snapshot_path(self.param, self.iter, ".caffemodel" + suffix)
        state = snapshot_path(self.param, self.iter, ".solverstate" + suffix)
        random = random_states(self._place)
        if not self._workers.leads:
            return state
        self._say("solver.cpp:474" if hdf5 else "solver.cpp:464", f"Snapshotting to {kind} file {weights}")
        if self.param.snapshot_diff:
            self._updater.show_updates()
        self._train.save(weights, fmt, diffs=self.param.snapshot_diff)
        place = "sgd_solver.cpp:296" if hdf5 else "sgd_solver.cpp:284"
        self._say(place, f"Snapshotting solver state to {kind} file {state}")
        if self._resume:
            write_resume(resume_path(state), self._place, iteration=self.iter, weights=weights, random=random)
        record = SolverSnapshot(self.iter, fspath(weights), self._step, self._updater.history_blobs())
        write_solverstate(record, state, fmt)
        return state

    @property
    def _place(self) -> Place:
        tests = [source for test in self._tests for source in test.sources]
        return Place(self._train.sources, tests, self._rng, self._device, self._workers)

    def restore(self, path: str | PathLike[str], *, restart_data: bool = False) -> None:
        """Go on from a solver state of either format; its weights may have moved along with it.

        Where its ``.resume.npz`` lies beside it, data and random numbers go on where they stood, unless `restart_data`
        asks for Caffe's way: the data from the beginning.

        Raises
        ------
        FileError, SolverError, WeightsError
        """
        file = Path(path)
        state = read_solverstate(file)
        history = fit_history(state.history, self._updater.history_shapes, file)
        beside = resume_path(file)
        go_on: str | Callable[[], None] = ""
        if state.learned_net:
            weights = find_weights(state.learned_net, file)
            if not restart_data and beside.is_file():
                go_on = read_resume(beside, self._place, iteration=state.iter, weights=weights)
            self._log.copied(self._train.load(weights), weights)
        self._say("sgd_solver.cpp:336", "SGDSolver: restoring history")
        self._updater.restore_history(history)
        self.iter, self._step = state.iter, state.current_step
        if callable(go_on):
            go_on()
            self._say("solver.cpp:499", f"Data as in {beside}")
        elif go_on:
            self._say("solver.cpp:499", f"{beside} is left aside: {go_on}")
        self._shown = (self.iter, time.perf_counter())

    def _say(self, place: str, text: str) -> None:
        self._log.line(place, text)
