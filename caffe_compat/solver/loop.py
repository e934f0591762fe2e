"""The solver: trains a net, tests it, logs, takes snapshots and goes on from them, as Caffe's Solver does.

Facts from BVLC Caffe 9b89154, solver.cpp and sgd_solver.cpp. Resuming restores weights, history, iteration and step;
the data starts from the beginning.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path

import torch

from caffe_compat.build.net import CaffeNet
from caffe_compat.data import CRand
from caffe_compat.definition.prepare import PreparedNet
from caffe_compat.definition.upgrade import upgrade_solver
from caffe_compat.formats.files import SolverSnapshot, format_text, read_solverstate, write_solverstate
from caffe_compat.graph.costs import work
from caffe_compat.runtime.closing import Closing
from caffe_compat.runtime.memory import keep_freed_memory
from caffe_compat.runtime.threads import threads_for
from caffe_compat.schema import caffe_pb2 as pb
from caffe_compat.solver.creation import after, before
from caffe_compat.solver.definitions import SolverDefinition, check_solver, redirect, test_definitions, train_definition
from caffe_compat.solver.detection import DetectionSettings, detection_settings, mean_precision
from caffe_compat.solver.log import CaffeLog, SmoothedLoss, number, score
from caffe_compat.solver.nets import Criterion, FedNet, SolverNet
from caffe_compat.solver.policy import rate
from caffe_compat.solver.resume import Place, random_states, read_resume, resume_path, write_resume
from caffe_compat.solver.signals import Action
from caffe_compat.solver.snapshot import check_layer_names, check_prefix, find_weights, fit_history, snapshot_path
from caffe_compat.solver.testing import Scores, detection_scores, mean_scores
from caffe_compat.solver.update import Updater
from caffe_compat.solver.workers import Workers

_ALONE = Workers()
_URGENCY = (Action.NONE, Action.SNAPSHOT, Action.STOP)


class Solver(Closing):
    """Caffe's solver on torch; a context manager, which closes what feeds its nets.

    Parameters
    ----------
    param : solver definition, any version.
    base_dir : folder where nets and data are looked for if they are not in the working directory. Snapshots are
        written relative to the working directory, as Caffe does.
    device : ``"cpu"``, ``"cuda"``, ``"cuda:1"``; solver_mode and device_id are for callers to heed.
    log : where log lines go; silent by default.
    sources : by phase, "TRAIN" or "TEST", what replaces the source of the net's only data layer.
    action : asked after every iteration and before every test batch what to do.
    workers : the processes that train this net together, and which of them this is.
    criterion : a loss that is not a layer: a torch function of the nets' inputs and outputs.
    exact : add up convolutions in genuine Caffe's order, as :func:`caffe_compat.load_net` does: its bits, slower.
    fast : run on compiled kernels, as :func:`caffe_compat.load_net` does.
    fork : the fork of Caffe the nets are for (or several), where their layers do not tell.
    resume : write a ``.resume.npz`` next to each snapshot, so that a run can go on as if it had never stopped.

    Attributes
    ----------
    iter : number of updates done.
    net : the module being trained.
    test_nets : modules that share its weights while they are tested.
    outputs : the output blobs of the last training batch.
    callbacks : pairs of functions, called before an iteration's first pass and before its update.

    Raises
    ------
    CaffeCompatError
        The definition, the nets, the data or the weights cannot be used.

    Notes
    -----
    random_seed seeds torch's global generator and the data layers', as it seeds Caffe's; HDF5Data's shuffle does not
    depend on it.
    """

    def __init__(
        self,
        param: pb.SolverParameter,
        *,
        base_dir: str | PathLike[str] = ".",
        device: str | torch.device = "cpu",
        log: CaffeLog | None = None,
        sources: Mapping[str, str] | None = None,
        action: Callable[[], Action] = lambda: Action.NONE,
        exact: bool = False,
        fast: bool = True,
        workers: Workers = _ALONE,
        criterion: Criterion | None = None,
        resume: bool = True,
        fork: str | Sequence[str] | None = None,
    ) -> None:
        self.param = upgrade_solver(param)
        self.iter = 0
        self.outputs: dict[str, torch.Tensor] = {}
        self._base_dir = Path(base_dir)
        self._device = torch.device(device)
        self._log = log or CaffeLog()
        self._action = action
        self._exact, self._fast = exact, fast
        self._fork = fork
        self._workers = workers
        self._criterion = criterion
        self._resume = resume
        self.callbacks: list[tuple[Callable[[], object], Callable[[], object]]] = []
        self._stopped = self._warned = False
        self._pending = Action.NONE
        self._step = 0
        if self._device.type == "cpu":
            keep_freed_memory()
        check_solver(self.param)
        if self.param.snapshot:
            check_prefix(self.param)
        self._say("solver.cpp:45", "Initializing solver from parameters: \n" + format_text(self.param))
        self._make_nets(sources or {})
        if self.param.snapshot or self.param.snapshot_after_train:
            check_layer_names([node.name for node in self._train.graph.nodes], self.param)
        self._updater = Updater(self.param, self._train.params, exact=self._exact)
        self._shown = (0, time.perf_counter())
        self._say("solver.cpp:57", "Solver scaffolding done.")

    def _make_nets(self, sources: Mapping[str, str]) -> None:
        train = train_definition(self.param, self._base_dir, self._fork)
        tests = test_definitions(self.param, self._base_dir, self._fork)
        if "TRAIN" in sources:
            train = replace(train, net=redirect(train.net, sources["TRAIN"]))
        if "TEST" in sources:
            tests = [replace(test, net=redirect(test.net, sources["TEST"])) for test in tests]
        self._seed = int(self.param.random_seed) if self.param.random_seed >= 0 else None
        if self._seed is not None:
            torch.manual_seed(self._seed + self._workers.rank)
        self._rng = CRand(random_seed=self._seed)

        def made(definition: SolverDefinition, place: str) -> SolverNet:
            self._say(place, definition.origin)
            self._log.lines(before(definition.net))
            net = self._make_net(definition.net)
            self._log.lines(after(net.graph))
            return net

        self._train = made(train, "solver.cpp:102")
        self._work = work(self._train.graph)
        self._tests = [made(test, "solver.cpp:190") for test in tests if self._workers.leads]
        for test in self._tests if self.param.debug_info else ():
            test.watch(self._log.line)
        for listed in self.param.weights:
            for name in listed.split(","):
                self.load_weights(name.strip())

    def _make_net(self, net: PreparedNet) -> SolverNet:
        """Return the net of a prepared definition."""
        return FedNet(
            net,
            rng=self._rng,
            seed=self._seed,
            device=self._device,
            exact=self._exact,
            fast=self._fast,
            workers=self._workers,
            criterion=self._criterion,
        )

    def close(self) -> None:
        """Close the sources of the nets' data; the weights stay."""
        for net in (self._train, *self._tests):
            net.close()

    @property
    def net(self) -> CaffeNet:
        """The module being trained."""
        net: CaffeNet = self._train.net
        return net

    @property
    def test_nets(self) -> tuple[CaffeNet, ...]:
        """The modules tested with."""
        return tuple(test.net for test in self._tests)

    @property
    def history(self) -> list[torch.Tensor]:
        """The history of the rule, in the order of Caffe's snapshots."""
        return self._updater.history

    def load_weights(self, path: str | PathLike[str]) -> None:
        """Copy weights by layer name into all nets, as for finetuning."""
        for net in (self._train, *self._tests):
            self._say("solver.cpp:72", f"Finetuning from {fspath(path)}")
            report = net.load(path)
            self._log.copied(report, path)
            if net is self._train:  # a test net may lack what a file is for
                report.refuse_unrelated(path, net.graph.learned())

    def step(self, count: int) -> None:
        """Train for some iterations, with the tests, log lines and snapshots that are due."""
        param = self.param
        stop = self.iter + count
        if self._workers.count > 1:
            self._workers.follow_first(self.net.state_dict().values())
        self._losses = SmoothedLoss(param.average_loss)
        self._shown = (self._shown[0], time.perf_counter())
        with self._log.progress(stop, self.iter, self._train.graph.name) as show:
            while self.iter < stop:
                due = param.test_interval and self.iter % param.test_interval == 0
                if due and (self.iter > 0 or param.test_initialization):
                    self.test_all()
                    if self._asked(Action.STOP if self._stopped else Action.NONE) is Action.STOP:
                        self._stopped = True
                        break
                for start, _ in self.callbacks:
                    start()
                if param.debug_info:
                    self._train.watch(self._log.line if self._displays() else None)
                with threads_for(self._work):
                    self._forward_backward()
                if self._displays():
                    self._report()
                for _, ready in self.callbacks:
                    ready()
                with threads_for(self._work):
                    self._update()
                show(self.iter)
                request = self._asked(self._action())
                if request is Action.SNAPSHOT or (param.snapshot and self.iter % param.snapshot == 0):
                    self.snapshot()
                if request is Action.STOP:
                    self._stopped = True
                    break

    def solve(self) -> bool:
        """Train until max_iter, with the snapshot, training loss and test at the end; tell whether it got there."""
        param = self.param
        if param.snapshot_after_train:
            check_prefix(param)
        self._say("solver.cpp:289", f"Solving {self._train.graph.name}")
        self._say("solver.cpp:290", f"Learning Rate Policy: {param.lr_policy}")
        self._stopped = False
        self.step(param.max_iter - self.iter)
        if param.snapshot_after_train and not (param.snapshot and self.iter % param.snapshot == 0):
            self.snapshot()
        if self._stopped:
            self._say("solver.cpp:311", "Optimization stopped early.")
            return False
        if self._displays():
            with torch.no_grad():
                self.outputs, loss = self._train.forward()
            self._losses.add(loss)
            self._say("solver.cpp:327", f"Iteration {self.iter}, loss = {number(self._losses.value)}")
        if param.test_interval and self.iter % param.test_interval == 0:
            self.test_all()
        self._say("solver.cpp:332", "Optimization Done.")
        return not self._stopped

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
        """Resume from a solver state of either format; its weights may have been moved with it.

        With a ``.resume.npz`` next to it, data and random numbers continue where they were. With `restart_data` the
        data starts from the beginning, as in Caffe.
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

    def _displays(self) -> bool:
        return bool(self.param.display) and self.iter % self.param.display == 0

    def _forward_backward(self) -> None:
        self._train.clear()
        losses = []
        for _ in range(self.param.iter_size):
            self.outputs, loss = self._train.forward_backward()
            losses.append(loss)
        self._workers.average(self._updater.gradients())
        mean = sum(losses[1:], losses[0]) / self.param.iter_size
        self._losses.add(mean)
        self._warn(mean)

    def _warn(self, loss: torch.Tensor) -> None:
        """Warn once that the loss is not finite; a GPU's loss is read only when the solver waits for it anyway."""
        param = self.param
        waits = self._displays() or (param.snapshot and (self.iter + 1) % param.snapshot == 0)
        if self._warned or not (loss.device.type == "cpu" or waits or self.iter + 1 == param.max_iter):
            return
        if not math.isfinite(loss):
            self._warned = True
            names = [name for name, blob in self.outputs.items() if not blob.isfinite().all()]
            text = f"the loss of iteration {self.iter} is {number(float(loss))}, the first that is not finite"
            outputs = f" (in {', '.join(names)})" if names else ""
            hint = "training goes on as Caffe's does; a smaller base_lr or clip_gradients may help"
            self._log.line("solver.cpp:233", f"{text}{outputs}; {hint}", "W")

    def _report(self) -> None:
        before, since = self._shown
        now = time.perf_counter()
        lapse = now - since
        speed = (self.iter - before) / (lapse or 1.0)
        timing = f"({number(speed)} iter/s, {number(lapse)}s/{self.param.display} iters)"
        self._say("solver.cpp:239", f"Iteration {self.iter} {timing}, loss = {number(self._losses.value)}")
        self._shown = (self.iter, now)
        values = ((name, float(value)) for name, blob in self.outputs.items() for value in blob.flatten())
        for index, (name, value) in enumerate(values):
            self._say("solver.cpp:258", score("Train", index, name, value, self._train.weights[name]))

    def _update(self) -> None:
        step = self._step
        now, self._step = rate(self.param, self.iter, step)
        if self.param.lr_policy == "multistep" and self._step != step:
            self._say("sgd_solver.cpp:50", f"MultiStep Status: Iteration {self.iter}, step = {self._step}")
        if self._displays():
            self._say("sgd_solver.cpp:112", f"Iteration {self.iter}, lr = {number(now)}")
        clipped = self._updater.apply(now, self.iter)
        if clipped is not None:
            norm, factor = map(number, clipped)
            limit = number(self.param.clip_gradients)
            text = f"scaling down gradients (L2 norm {norm} > {limit}) by scale factor {factor}"
            self._say("sgd_solver.cpp:99", f"Gradient clipping: {text}")
        self.iter += 1

    def test_all(self) -> None:
        """Test with every test net in turn, until asked to stop."""
        for number_of_net in range(len(self._tests)):
            if not self._stopped:
                self.test(number_of_net)

    def test(self, which: int) -> Scores | None:
        """Run one test net for its test_iter batches; log and return the mean of every output, None if interrupted."""
        tested, detection = self._tests[which], detection_settings(self.param)
        if detection is not None:
            return self._test_detection(which, detection)
        self._say("solver.cpp:347", f"Iteration {self.iter}, Testing net (#{which})")
        tested.share(self._train)
        result = mean_scores(tested, self.param.test_iter[which], self._goes_on)
        if result is None:
            self._say("solver.cpp:396", "Test interrupted.")
            return None
        if self.param.test_compute_loss:
            self._say("solver.cpp:401", f"Test loss: {number(result.loss)}")
        for index, (name, value) in enumerate(result.scores):
            self._say("solver.cpp:414", score("Test", index, name, value, tested.weights[name]))
        return result

    def _test_detection(self, which: int, settings: DetectionSettings) -> Scores | None:
        """Log and return the mean average precision of each output, at the places of SSD's solver.cpp."""
        self._say("solver.cpp:433", f"Iteration {self.iter}, Testing net (#{which})")
        tested = self._tests[which]
        tested.share(self._train)
        result = detection_scores(tested, self.param.test_iter[which], self._goes_on)
        if result is None:
            self._say("solver.cpp:494", "Test interrupted.")
            return None
        loss, rows = result
        if self.param.test_compute_loss:
            self._say("solver.cpp:499", f"Test loss: {number(loss)}")
        means = []
        for index, (name, precisions) in enumerate(rows.precisions(settings.version).items()):
            for label, value in precisions.items():
                if value is None:
                    self._log.line("solver.cpp:524", f"Missing true_pos for label: {label}", "W")
                elif settings.per_class:
                    self._say("solver.cpp:540", f"class{label}: {number(float(value))}")
            if any(value is not None for value in precisions.values()):  # without a detection, the fork logs nothing
                means.append((name, mean_precision(precisions)))
                self._say("solver.cpp:546", f"    Test net output #{index}: {name} = {number(means[-1][1])}")
        return Scores(loss, tuple(means))

    def _asked(self, request: Action) -> Action:
        """Return the most urgent request that any worker received."""
        mine = max(_URGENCY.index(request), _URGENCY.index(self._pending))
        self._pending = Action.NONE
        return _URGENCY[self._workers.most(mine, self._device)]

    def _goes_on(self) -> bool:
        while (request := self._action()) is not Action.NONE:
            if request is not Action.SNAPSHOT:
                self._stopped = True
            elif self._workers.count == 1:
                self.snapshot()
            else:
                self._pending = request  # all of them take part in a snapshot, and this one tests alone
        return not self._stopped

    def _say(self, place: str, text: str) -> None:
        self._log.line(place, text)
