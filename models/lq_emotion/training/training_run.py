"""Training runs: the authors' nets and solvers with the user's paths, and no changes but those the user asks for.

``HQ`` trains CNN+D from its fillers on any set of faces: HQ, one LR factor, a mixture. ``vlqr`` (joint) and
``vlqr_non_joint`` start from the super-resolution weights that ``pretrain`` learns.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from caffe_compat.build.weights import read_weights
from caffe_compat.errors import SolverError, WeightsError
from caffe_compat.formats.files import write_text
from caffe_compat.layers import facts
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.devices import choose_device
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import contents_of, read_json, write_json
from lq_emotion.common.progress import Say
from lq_emotion.nets import definitions
from lq_emotion.nets.cnn_d import with_outputs
from lq_emotion.nets.definitions import NetBuilder
from lq_emotion.nets.switches import AS_CODE, format_setting
from lq_emotion.training.data_lists import Listed, read_list
from lq_emotion.training.losses import draw_losses, read_curves, valence_ccc
from lq_emotion.training.net import make_net, sources, write_sources
from lq_emotion.training.run_folder import DEPLOY, LOSSES, RESULTS, TrainingIdentity, claim
from lq_emotion.training.run_folder import train as train_in
from lq_emotion.training.settings import FROM_FILLERS, TrainingResults, TrainingSettings, differences
from lq_emotion.training.trainer import Run, find_weights


def train(settings: TrainingSettings, say: Say = print) -> TrainingResults:
    """Train a net in its own folder, or continue; write the results to train.json and return them.

    Raises
    ------
    CaffeCompatError, OSError
        Data, weights or settings cannot be used; the folder is unchanged.
    InterruptedTrainingError
        Ctrl-C was pressed; a snapshot was saved.
    """
    return _Training(settings, say).run()


H5_RESULTS = "h5.json"  # of `crops.h5`


@dataclass
class _Training:
    settings: TrainingSettings
    say: Say

    def run(self) -> TrainingResults:
        device = choose_device(self.settings.device)
        data = {phase: read_list(self.settings.h5, phase) for phase in ("train", "test")}
        run = Run(self.settings.out.resolve(), self._builder.snapshot_name, self.settings.net)
        factors = definitions.factors_of(self.settings.net, self.settings.switches, list(data["train"].sides.values()))
        switched = definitions.settings(self.settings.net, self.settings.switches, factors)
        net, net_changes = make_net(
            self._builder,
            self.settings.switches,
            factors,
            sources(data, factors, run.folder),
            batch=self.settings.changes.batch,
            filler=self.settings.changes.filler,
            outputs=data["train"].labels,
        )
        solver, solver_changes = self._solver(run, device.type)
        switch_changes = [
            f"{name}: {format_setting(getattr(AS_CODE, name))} -> {format_setting(value)}"
            for name, value in switched.items()
        ]
        changes = [*switch_changes, *net_changes, *solver_changes]
        weights = self._weights(net)
        claim(
            run,
            self._identity(changes, data, weights),
            fresh=self.settings.fresh,
            aside=self.settings.aside,
            say=self.say,
        )
        self._announce(changes, data, net, solver)
        write_sources(data, factors, run.folder)
        if switched or data["train"].labels != 1:
            deploy = with_outputs(self._builder.deploy(self.settings.switches, factors[0]), data["train"].labels)
            write_text(deploy, run.folder / DEPLOY)
        seconds = self._train(run, net, solver, device, weights)
        return self._report(run, solver, changes, seconds)

    @property
    def _builder(self) -> NetBuilder:
        return definitions.builder(self.settings.net)

    def _solver(self, run: Run, device: str) -> tuple[pb.SolverParameter, list[str]]:
        solver = self._builder.solver(self.settings.switches)
        self.settings.changes.apply_to(solver)
        solver.net, solver.snapshot_prefix = str(run.folder / "net.prototxt"), str(run.prefix)
        solver.solver_mode = pb.SolverParameter.CPU if device == "cpu" else pb.SolverParameter.GPU
        return solver, differences(self._builder.solver(AS_CODE), solver)

    def _weights(self, net: pb.NetParameter) -> Path | None:
        """Find the weights to start from, and check that they fit."""
        weights = self.settings.weights
        if weights in (None, FROM_FILLERS):
            if self._builder.starts_from_sr and weights is None:
                hint = "pass the run of `train --net pretrain`, or `--weights none` to start from the fillers"
                problem = f"{self.settings.net} starts from super-resolution weights"
                raise SolverError(problem, code="field-missing", field="--weights", hint=hint)
            return None
        path = find_weights(weights)
        present = {name for name, blobs in read_weights(path).items() if blobs}
        learnable = _owners(net)
        loaded = [layer.name for layer in learnable if layer.name in present]
        frozen = [
            layer.name for layer in learnable if layer.name not in present and not any(p.lr_mult for p in layer.param)
        ]
        if not loaded or frozen:
            missing = ", ".join(frozen or (layer.name for layer in learnable))
            hint = f"it has {', '.join(sorted(present)) or 'no layers'}"
            raise WeightsError(f"has no {missing}", code="mismatch", file=path, hint=hint)
        drawn = [layer.name for layer in learnable if layer.name not in present]
        self.say(f"{', '.join(loaded)} from {path}" + (f"; {', '.join(drawn)} from the fillers" if drawn else ""))
        return path

    def _identity(self, changes: list[str], data: dict[str, Listed], weights: Path | None) -> TrainingIdentity:
        """Return what identifies a training.

        A training may continue for longer and with other tests. Users may also change its rate on the way; stages of a
        study, which set different trainings aside, may not.
        """
        rate = ("base_lr",) if self.settings.aside is None else ()
        free = ("max_iter", "test_iter", "test_interval", "display", "snapshot:", "solver_mode", *rate)
        mean, std = _normalisation(self.settings.h5)
        return TrainingIdentity(
            net=self.settings.net,
            changes=tuple(change for change in changes if not change.startswith(free)),
            data=data["train"].identity(),
            weights=(weights.name, file_sha256(weights)) if weights else None,
            mean=mean,
            std=std,
        )

    def _announce(
        self, changes: list[str], data: dict[str, Listed], net: pb.NetParameter, solver: pb.SolverParameter
    ) -> None:
        say = self.say
        net_file, solver_file = (Path(name).name for name in self._builder.shipped)
        say(f"training {net_file} by {solver_file}, as the authors wrote them")
        for change in changes:
            say(f"  but {change}")
        for phase, listed in data.items():
            say(f"  {phase}: {listed.rows} samples of {listed.path}")
        tests = (layer for layer in net.layer if layer.type == "HDF5Data" and layer.include[0].phase == pb.TEST)
        size = sum(layer.hdf5_data_param.batch_size for layer in tests)
        samples, rows = solver.test_iter[0] * size, data["test"].rows
        if samples > rows:
            once = -(-rows // size)
            say(f"  a test takes {samples} samples: some of the {rows} count more than once (use --test-iter {once})")

    def _train(
        self, run: Run, net: pb.NetParameter, solver: pb.SolverParameter, device: torch.device, weights: Path | None
    ) -> float:
        start = time.perf_counter()
        if run.snapshot(solver.max_iter).is_file():
            self.say(f"iteration {solver.max_iter} exists already; --iterations continues, --fresh starts over")
        else:
            valence = self._builder.predicts_valence
            train_in(
                run,
                net,
                solver,
                self.say,
                device=device,
                weights=weights,
                criterion=valence_ccc if valence and self.settings.switches.loss == "ccc" else None,
                on_plateau=valence and self.settings.switches.lr_on_plateau,
            )
        return round(time.perf_counter() - start, 2)

    def _report(self, run: Run, solver: pb.SolverParameter, changes: list[str], seconds: float) -> TrainingResults:
        curves, files = read_curves(run.log, solver.max_iter), [run.log, run.snapshot(solver.max_iter)]
        if curves.train:
            files.insert(0, run.folder / LOSSES)
            title = f"Training of {self.settings.net}"
            draw_losses(curves, files[0], title=title, measured=self._loss_name(), held_out="test.txt")
        results = TrainingResults(
            net=self.settings.net,
            iterations=solver.max_iter,
            changes=tuple(changes),
            train_loss=curves.train,
            test_loss=curves.test,
            files=tuple(map(str, files)),
            seconds=seconds,
        )
        write_json(results.to_json(), run.folder / RESULTS)
        return results

    def _loss_name(self) -> str:
        what = {"euclidean": "Euclidean loss", "mse": "mean squared error", "ccc": "1 - CCC"}[
            self.settings.switches.loss
        ]
        if self._builder.predicts_valence:
            return f"{what} of valence"
        return (
            "Euclidean loss of a 16 x 16 patch" if self.settings.switches.loss == "euclidean" else "mean squared error"
        )


def _normalisation(h5: Path) -> tuple[float | None, float | None]:
    """Return mean and deviation by which the files in a folder of data were normalised, None for nothing."""
    stored = read_json(h5 / H5_RESULTS) or {}
    with contents_of(h5 / H5_RESULTS):
        train = stored.get("train", {})
        return train.get("mean"), train.get("std")


def _owners(net: pb.NetParameter) -> list[pb.LayerParameter]:
    """Return the layers with weights, without those that share an earlier layer's parameters."""
    shared: set[str] = set()
    owners = []
    for layer in net.layer:
        names = {param.name for param in layer.param if param.name}
        if facts(layer.type).weight_message and not names & shared:
            owners.append(layer)
        shared |= names
    return owners
