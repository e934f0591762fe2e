"""The authors' trainings: the shipped nets and solvers with the user's paths and no change but those asked for.

``HQ`` trains CNN+D from nothing, on any set of faces: HQ, one LR factor, a mixture. ``vlqr`` (joint) and
``vlqr_non_joint`` start from the super-resolution weights that ``pretrain`` learns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from caffe_compat.build.weights import read_weights
from caffe_compat.errors import SolverError, WeightsError
from caffe_compat.formats.files import write_text
from caffe_compat.layers import facts
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.devices import choose_device
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import write_json
from lq_emotion.nets import definitions
from lq_emotion.nets.builder import NetBuilder
from lq_emotion.nets.losses import CCCLoss
from lq_emotion.nets.mixed import JOINED
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import AS_CODE, PaperSwitches, told
from lq_emotion.training.data_lists import Listed, read_list
from lq_emotion.training.loss_plot import draw_losses
from lq_emotion.training.net import make_net, sources, write_sources
from lq_emotion.training.overrides import Changes, differences
from lq_emotion.training.results import TrainingFiles, TrainingResults
from lq_emotion.training.run_folder import DEPLOY, LOSSES, RESULTS, claim
from lq_emotion.training.trainer import Run, find_weights, read_curves

Say = Callable[[str], None]


@dataclass
class TrainingRun:
    """A training in a folder of its own.

    Attributes
    ----------
    out : folder for log, snapshots and pictures.
    h5 : folder of train.txt and test.txt, the lists of HDF5 files.
    net : what to train.
    weights : what to start from: a file, or the folder of a run.
    from_nothing : start nets that want super-resolution weights from their fillers.
    changes : what differs from the shipped definitions.
    switches : paper or code; those that are about data are left to who made it.
    device : see `choose_device`.
    fresh : forget what an earlier run left.
    aside : a folder that another training's files are moved to where they are in the way; else they are an error.
    say : takes lines of progress.
    """

    out: Path
    h5: Path
    net: Net = Net.SCRATCH
    weights: Path | None = None
    from_nothing: bool = False
    changes: Changes = field(default_factory=Changes)
    switches: PaperSwitches = AS_CODE
    device: str = "auto"
    fresh: bool = False
    aside: Path | None = None
    say: Say = print

    def run(self) -> TrainingResults:
        """Train, or go on; return the results, which lie in train.json as well.

        Raises
        ------
        CaffeCompatError, OSError
            Data, weights or settings that cannot be used; the folder is left as it was.
        InterruptedTrainingError
            Ctrl-C; a snapshot was taken.
        """
        device = choose_device(self.device)
        data = {phase: read_list(self.h5, phase) for phase in ("train", "test")}
        run = Run(self.out.resolve(), self._builder.snapshot_name, self.net)
        factors = definitions.factors_of(self.net, self.switches, list(data["train"].sides.values()))
        switched = definitions.settings(self.net, self.switches, factors)
        net, net_changes = make_net(
            self._builder,
            self.switches,
            factors,
            sources(data, factors, run.folder),
            batch=self.changes.batch,
            filler=self.changes.filler,
        )
        solver, solver_changes = self._solver(run, device.type)
        set_so = [f"{name}: {told(getattr(AS_CODE, name))} -> {told(value)}" for name, value in switched.items()]
        changes = [*set_so, *net_changes, *solver_changes]
        weights = self._weights(net)
        claim(run, self._settings(changes, data, weights), fresh=self.fresh, aside=self.aside, say=self.say)
        self._tell(changes, data, net, solver)
        write_sources(data, factors, run.folder)
        if switched or self._builder.shipped is None:
            write_text(self._builder.deploy(self.switches, factors[0]), run.folder / DEPLOY)
        seconds = self._train(run, net, solver, device, weights)
        return self._report(run, solver, changes, seconds)

    @property
    def _builder(self) -> NetBuilder:
        return definitions.builder(self.net)

    def _solver(self, run: Run, device: str) -> tuple[pb.SolverParameter, list[str]]:
        solver = self._builder.solver(self.switches)
        self.changes.apply_to(solver)
        solver.net, solver.snapshot_prefix = str(run.folder / "net.prototxt"), str(run.prefix)
        solver.solver_mode = pb.SolverParameter.CPU if device == "cpu" else pb.SolverParameter.GPU
        return solver, differences(self._builder.solver(AS_CODE), solver)

    def _weights(self, net: pb.NetParameter) -> Path | None:
        """Return the weights to start from, once they are known to serve."""
        if self.weights is None:
            if self._builder.starts_from_sr and not self.from_nothing:
                hint = "give those of a `train --net pretrain` run, or `--weights none` to start from the fillers"
                raise SolverError("starts from super-resolution weights", field="--weights", value=self.net, hint=hint)
            return None
        path = find_weights(self.weights)
        there = {name for name, blobs in read_weights(path).items() if blobs}
        learning = _owners(net)
        taken = [layer.name for layer in learning if layer.name in there]
        frozen = [
            layer.name for layer in learning if layer.name not in there and not any(p.lr_mult for p in layer.param)
        ]
        if not taken or frozen:
            lacking = ", ".join(frozen or (layer.name for layer in learning))
            raise WeightsError(f"has no {lacking}", file=path, hint=f"it has {', '.join(sorted(there)) or 'no layers'}")
        drawn = [layer.name for layer in learning if layer.name not in there]
        self.say(f"{', '.join(taken)} from {path}" + (f"; {', '.join(drawn)} from the fillers" if drawn else ""))
        return path

    def _settings(self, changes: list[str], data: dict[str, Listed], weights: Path | None) -> dict[str, Any]:
        """Return what tells one training from another.

        A later part may be longer and tested otherwise; by the user's hand, at another rate as well. Where trainings
        make way for others (`aside`), all of a training is at one rate.
        """
        rate = ("base_lr",) if self.aside is None else ()
        free = ("max_iter", "test_iter", "test_interval", "display", "snapshot:", "solver_mode", *rate)
        return {
            "net": self.net,
            "changes": [change for change in changes if not change.startswith(free)],
            "data": data["train"].identity(),
            "weights": [weights.name, file_sha256(weights)] if weights else None,
        }

    def _tell(
        self, changes: list[str], data: dict[str, Listed], net: pb.NetParameter, solver: pb.SolverParameter
    ) -> None:
        say = self.say
        if self._builder.shipped:
            net_file, solver_file = (Path(name).name for name in self._builder.shipped)
            say(f"training {net_file} by {solver_file}, as the authors wrote them")
        for change in changes:
            say(f"  but {change}")
        for phase, listed in data.items():
            say(f"  {phase}: {listed.rows} samples of {listed.path}")
        tests = (layer for layer in net.layer if layer.type == "HDF5Data" and layer.include[0].phase == pb.TEST)
        size = sum(layer.hdf5_data_param.batch_size for layer in tests)
        asked, rows = solver.test_iter[0] * size, data["test"].rows
        if asked > rows:
            once = -(-rows // size)
            say(f"  a test takes {asked} samples, so that some of the {rows} count more than once (--test-iter {once})")

    def _train(
        self, run: Run, net: pb.NetParameter, solver: pb.SolverParameter, device: torch.device, weights: Path | None
    ) -> float:
        start = time.perf_counter()
        if run.snapshot(solver.max_iter).is_file():
            self.say(f"iteration {solver.max_iter} is there already; more --iterations go on, --fresh starts anew")
        else:
            write_text(net, run.folder / "net.prototxt")
            write_text(solver, run.folder / "solver.prototxt")
            valence = self._builder.predicts_valence
            run.train(
                solver,
                self.say,
                device=device,
                weights=weights,
                criterion=valence_ccc if valence and self.switches.loss == "ccc" else None,
                on_plateau=valence and self.switches.lr_on_plateau,
            )
        return round(time.perf_counter() - start, 2)

    def _report(self, run: Run, solver: pb.SolverParameter, changes: list[str], seconds: float) -> TrainingResults:
        curves = read_curves(run.log, solver.max_iter)
        picture = run.folder / LOSSES
        if curves.train:
            measured = self._measured()
            draw_losses(curves, picture, title=f"Training of {self.net}", measured=measured, held_out="test.txt")
        weights, losses = str(run.snapshot(solver.max_iter)), str(picture) if curves.train else None
        results = TrainingResults(
            net=self.net,
            iterations=solver.max_iter,
            changes=tuple(changes),
            train_loss=curves.train,
            test_loss=curves.test,
            files=TrainingFiles(weights, str(run.log), losses),
            seconds=seconds,
        )
        write_json(results.to_json(), run.folder / RESULTS)
        return results

    def _measured(self) -> str:
        what = {"euclidean": "Euclidean loss", "mse": "mean squared error", "ccc": "1 - CCC"}[self.switches.loss]
        if self._builder.predicts_valence:
            return f"{what} of valence"
        return "Euclidean loss of a 16 x 16 patch" if self.switches.loss == "euclidean" else "mean squared error"


def _owners(net: pb.NetParameter) -> list[pb.LayerParameter]:
    """Return the layers that learn, without those whose parameters are an earlier one's."""
    known: set[str] = set()
    found = []
    for layer in net.layer:
        names = {param.name for param in layer.param if param.name}
        if facts(layer.type).weight_message and not names & known:
            found.append(layer)
        known |= names
    return found


def valence_ccc(blobs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the loss "ccc" of a batch, from the blobs of a net without a layer for it."""
    names = JOINED if JOINED[0] in blobs else ("fc5", "label")
    loss: torch.Tensor = CCCLoss()(*(blobs[name] for name in names))
    return loss
