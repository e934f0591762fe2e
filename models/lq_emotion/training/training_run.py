"""Training runs: the authors' nets and solvers with the user's paths, and no changes but those the user asks for.

``HQ`` trains CNN+D from its fillers on any set of faces: HQ, one LR factor, a mixture. ``vlqr`` (joint) and
``vlqr_non_joint`` start from the super-resolution weights that ``pretrain`` learns.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

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
from lq_emotion.training.data import Listed, make_net, read_list, sources, write_sources
from lq_emotion.training.losses import draw_losses, read_curves, valence_ccc
from lq_emotion.training.run import DEPLOY, LOSSES, RESULTS, Run, TrainingIdentity, claim, find_weights
from lq_emotion.training.run import train as train_in
from lq_emotion.training.settings import FROM_FILLERS, TrainingResults, TrainingSettings, differences

H5_RESULTS = "h5.json"  # of `crops.h5`


def train(settings: TrainingSettings, say: Say = print) -> TrainingResults:
    """Train a net in its own folder, or continue; write the results to train.json and return them.

    What cannot be used is refused before the folder is changed; Ctrl-C saves a snapshot.
    """
    builder, switches = definitions.builder(settings.net), settings.switches
    device = choose_device(settings.device)
    data = {phase: read_list(settings.h5, phase) for phase in ("train", "test")}
    labels = data["train"].labels
    run = Run(settings.out.resolve(), builder.snapshot_name, settings.net)
    factors = definitions.factors_of(settings.net, switches, list(data["train"].sides.values()))
    switched = definitions.settings(settings.net, switches, factors)
    net, net_changes = make_net(
        builder, switches, factors, sources(data, factors, run.folder),
        batch=settings.changes.batch, filler=settings.changes.filler, outputs=labels,
    )  # fmt: skip
    solver = builder.solver(switches)
    settings.changes.apply_to(solver)
    solver.net, solver.snapshot_prefix = str(run.folder / "net.prototxt"), str(run.prefix)
    solver.solver_mode = pb.SolverParameter.CPU if device.type == "cpu" else pb.SolverParameter.GPU
    changes = [
        *(
            f"{name}: {format_setting(getattr(AS_CODE, name))} -> {format_setting(value)}"
            for name, value in switched.items()
        ),
        *net_changes,
        *differences(builder.solver(AS_CODE), solver),
    ]
    weights = _start(settings, builder, net, say)
    claim(
        run, _identity(settings, changes, data["train"], weights), fresh=settings.fresh, aside=settings.aside, say=say
    )
    _announce(builder, changes, data, net, solver, say)
    write_sources(data, factors, run.folder)
    if switched or labels != 1:
        write_text(with_outputs(builder.deploy(switches, factors[0]), labels), run.folder / DEPLOY)
    start = time.perf_counter()
    if run.snapshot(solver.max_iter).is_file():
        say(f"iteration {solver.max_iter} exists already; --iterations continues, --fresh starts over")
    else:
        valence = builder.predicts_valence
        train_in(
            run, net, solver, say, device=device, weights=weights,
            criterion=valence_ccc if valence and switches.loss == "ccc" else None,
            on_plateau=valence and switches.lr_on_plateau,
        )  # fmt: skip
    seconds = round(time.perf_counter() - start, 2)
    return _report(settings, run, solver.max_iter, changes, seconds)


def _start(settings: TrainingSettings, builder: NetBuilder, net: pb.NetParameter, say: Say) -> Path | None:
    """Find the weights to start from, and check that they fit; None for the fillers."""
    if settings.weights in (None, FROM_FILLERS):
        if builder.starts_from_sr and settings.weights is None:
            hint = "pass the run of `train --net pretrain`, or `--weights none` to start from the fillers"
            problem = f"{settings.net} starts from super-resolution weights"
            raise SolverError(problem, code="field-missing", field="--weights", hint=hint)
        return None
    path = find_weights(settings.weights)
    present = {name for name, blobs in read_weights(path).items() if blobs}
    learnable = _owners(net)
    loaded = [layer.name for layer in learnable if layer.name in present]
    others = [layer for layer in learnable if layer.name not in present]
    frozen = [layer.name for layer in others if not any(param.lr_mult for param in layer.param)]
    if not loaded or frozen:
        missing = ", ".join(frozen or (layer.name for layer in learnable))
        hint = f"it has {', '.join(sorted(present)) or 'no layers'}"
        raise WeightsError(f"has no {missing}", code="mismatch", file=path, hint=hint)
    drawn = f"; {', '.join(layer.name for layer in others)} from the fillers" if others else ""
    say(f"{', '.join(loaded)} from {path}{drawn}")
    return path


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


def _identity(
    settings: TrainingSettings, changes: Sequence[str], data: Listed, weights: Path | None
) -> TrainingIdentity:
    """Return what identifies a training.

    A training may continue for longer and with other tests. Users may also change its rate on the way; stages of a
    study, which set different trainings aside, may not.
    """
    rate = ("base_lr",) if settings.aside is None else ()
    free = ("max_iter", "test_iter", "test_interval", "display", "snapshot:", "solver_mode", *rate)
    stored = read_json(settings.h5 / H5_RESULTS) or {}
    with contents_of(settings.h5 / H5_RESULTS):
        train = stored.get("train", {})
        mean, std = train.get("mean"), train.get("std")
    return TrainingIdentity(
        net=settings.net,
        changes=tuple(change for change in changes if not change.startswith(free)),
        data=data.identity(),
        weights=(weights.name, file_sha256(weights)) if weights else None,
        mean=mean,
        std=std,
    )


def _announce(
    builder: NetBuilder,
    changes: Sequence[str],
    data: Mapping[str, Listed],
    net: pb.NetParameter,
    solver: pb.SolverParameter,
    say: Say,
) -> None:
    net_file, solver_file = (Path(name).name for name in builder.shipped)
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


def _report(
    settings: TrainingSettings, run: Run, iterations: int, changes: Sequence[str], seconds: float
) -> TrainingResults:
    """Draw the losses and write the results of a training."""
    curves, files = read_curves(run.log, iterations), [run.log, run.snapshot(iterations)]
    if curves.train:
        files.insert(0, run.folder / LOSSES)
        title = f"Training of {settings.net}"
        draw_losses(curves, files[0], title=title, measured=_loss_name(settings), held_out="test.txt")
    results = TrainingResults(
        net=settings.net,
        iterations=iterations,
        changes=tuple(changes),
        train_loss=curves.train,
        test_loss=curves.test,
        files=tuple(map(str, files)),
        seconds=seconds,
    )
    write_json(results.to_json(), run.folder / RESULTS)
    return results


def _loss_name(settings: TrainingSettings) -> str:
    loss = settings.switches.loss
    if definitions.builder(settings.net).predicts_valence:
        names = {"euclidean": "Euclidean loss", "mse": "mean squared error", "ccc": "1 - CCC"}
        return f"{names[loss]} of valence"
    return "Euclidean loss of a 16 x 16 patch" if loss == "euclidean" else "mean squared error"
