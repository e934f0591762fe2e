"""Adapt a net to a user's clips, from the table to weights that other commands take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from caffe_compat.build.net import load_net
from caffe_compat.build.weights import read_weights, save_weights
from caffe_compat.errors import SolverError
from caffe_compat.formats.files import atomic_path
from caffe_compat.formats.regular_file import require_other_file
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.devices import choose_device
from lq_emotion.common.fingerprints import file_sha256, fingerprint, named_hashes
from lq_emotion.common.folders import require_folder
from lq_emotion.common.journal import Journal
from lq_emotion.common.json_files import contents_of, write_json
from lq_emotion.common.progress import Say
from lq_emotion.datasets.avec.layout import PARTITIONS
from lq_emotion.datasets.clips.table import ClipTable, read_clips
from lq_emotion.nets.head import HeadedNet
from lq_emotion.nets.known.installation import write_sidecars
from lq_emotion.nets.known.loading import Description, find_description, load_detector
from lq_emotion.nets.known.outputs import Dimension, Dimensions, Labels, Outputs
from lq_emotion.training.adapt.definitions import stage_net, with_last_layer
from lq_emotion.training.adapt.faces import largest_face, read_faces, write_faces
from lq_emotion.training.adapt.report import write_report
from lq_emotion.training.adapt.settings import (
    AdaptationResults,
    AdaptSettings,
    AnswerScores,
    FacesFound,
    StageResults,
)
from lq_emotion.training.adapt.targets import Doubles, Singles, Target, target_of
from lq_emotion.training.plateau import PLATEAU, best_iteration, divisions, read_losses
from lq_emotion.training.run import Run, train

JOURNAL, RESULTS = "journal.json", "adapt.json"
STAGES = ("frozen", "unfrozen")
_RATES = {"frozen": 1.0, "unfrozen": 0.1}  # of base_lr
_TESTS = 20  # in a stage
_TEST_BATCH = 64  # at most


def adapt(settings: AdaptSettings, say: Say = print) -> AdaptationResults:
    """Fine-tune a net on a table of clips; after Ctrl-C, which saves a snapshot, the same call continues."""
    table = read_clips(settings.clips, settings.reading)
    model = find_description(settings.model, any_outputs=True)
    require_other_file(settings.out / f"{settings.out.name}.caffemodel", model.weights)
    device = choose_device(settings.device)
    return _Adaptation(settings, model, table, target_of(table, model.outputs), device, say).run()


@dataclass(frozen=True)
class _Adaptation:
    """An adaptation in its own folder; a killed one continues with its last snapshot."""

    settings: AdaptSettings
    model: Description
    table: ClipTable
    target: Target
    device: torch.device
    say: Say

    def run(self) -> AdaptationResults:
        """Adapt, or continue; write the weights, their sidecars, adapt.json and report.md."""
        target = self.target
        net = with_last_layer(self.model.definition, len(target.names), classes=target.classes, new=not target.own)
        journal = self._claim()
        state = "its own head" if target.own else f"a new head, {net.head[0]}"
        self.say(f"adapting {self.model.name} with {state}: {', '.join(target.names)}")
        faces = self._faces(journal)
        started = self.model.weights
        stages: dict[str, StageResults] = {}
        exported: dict[str, Path] = {}
        for stage in STAGES:
            started, stages[stage] = self._train(stage, net, faces, started)
            exported[stage] = self._work / f"{stage}.caffemodel"
            _export(net, started, target, exported[stage])
        final = self.out / f"{self.out.name}.caffemodel"
        with atomic_path(final) as partial:
            partial.write_bytes(exported["unfrozen"].read_bytes())
        values = {part: self._values(of_part) for part, of_part in faces.items()}
        outputs = self._outputs(values["train"])
        write_sidecars(final, net.deploy, self.model.preprocessing, outputs, self.model.crop)
        nets = {"before": (self.model.definition, self.model.weights)} if target.own else {}
        nets |= {"frozen": (net.deploy, exported["frozen"]), "adapted": (net.deploy, final)}
        results = AdaptationResults(
            model=self.model.name,
            weights=final.name,
            head_is_new=not target.own,
            names=target.names,
            persons={part: tuple(sorted({clip.person for clip in self.table.part(part)})) for part in faces},
            split=self.table.split,
            faces=faces,
            stages=stages,
            scores=self._scores(nets, faces, values),
        )
        write_json(results.to_json(), self.out / RESULTS)
        write_report(results, self.out)
        return results

    @property
    def out(self) -> Path:
        """Return the folder; its name becomes the model's."""
        return self.settings.out.resolve()

    @property
    def _work(self) -> Path:
        return self.out / "work"

    @property
    def _face_files(self) -> Path:
        return self._work / "faces"

    def _claim(self) -> Journal:
        """Make the folder that of this adaptation."""
        require_folder(self.out)
        journal = Journal(self.out / JOURNAL, root=self.out, hint="remove the folder")
        journal.require_own(self.out.glob("*"), "adapt")
        settings = self.settings
        schedule = [settings.iterations, settings.batch, settings.base_lr, settings.seed]
        made_from = fingerprint([self._identity(), *schedule])
        if journal.exists and not settings.fresh and not journal.is_done("adaptation", made_from):
            hint = "--fresh starts over, or choose another --out"
            raise SolverError("contains another adaptation", code="mismatch", file=self.out, field="--out", hint=hint)
        if settings.fresh:
            snapshots = self._work.rglob("*") if self._work.is_dir() else ()
            journal.clear([path for path in snapshots if path.is_file()])
        self._work.mkdir(parents=True, exist_ok=True)
        journal.note("adaptation", made_from)
        return journal

    def _identity(self) -> list[object]:
        """Return what the faces depend on."""
        table = self.table
        clips = [
            [clip.name, clip.person, clip.partition, clip.start, str(clip.end), clip.label, dict(clip.values)]
            for clip in table.clips
        ]
        traces = {str(file): [trace.time.tolist(), trace.values.tolist()] for file, trace in table.traces.items()}
        files = named_hashes(clip.file for clip in table.clips)
        return [file_sha256(self.model.weights), clips, traces, files, self.settings.fps, self.settings.detector]

    def _faces(self, journal: Journal) -> dict[str, FacesFound]:
        """Cut the faces out, a partition after the other, unless they are there."""
        made_from, folder = fingerprint(self._identity()), self._face_files
        face_in = partial(largest_face, self.model, load_detector(self.settings.detector, device=self.device))
        faces: dict[str, FacesFound] = {}
        for part in PARTITIONS:
            clips = self.table.part(part)
            if not clips:
                continue
            if journal.is_done(part, made_from):
                with contents_of(journal.path):
                    faces[part] = FacesFound.from_json(journal.entry(part)["found"])
                continue
            with tqdm(total=len(clips), desc=f"faces of {part}", unit=" clips", disable=None, leave=False) as bar:
                faces[part] = write_faces(
                    self.table, part, self.target, folder,
                    face_in=face_in, rate=self.settings.fps, progress=bar.update,
                )  # fmt: skip
            files = [folder / name for name in faces[part].files]
            journal.note(part, made_from, files, found=faces[part].to_json())
            empty = f"; none in {', '.join(faces[part].clips_without)}" if faces[part].clips_without else ""
            self.say(f"{part}: {faces[part].faces} faces in {faces[part].frames} frames{empty}")
        return faces

    def _train(
        self, stage: str, net: HeadedNet, faces: Mapping[str, FacesFound], weights: Path
    ) -> tuple[Path, StageResults]:
        """Train a stage; return the best weights, those it began with where none are better."""
        folder = self._work / stage
        run = Run(folder, "adapt", stage)
        held_out = faces["dev"].faces
        batch = max(size for size in range(1, _TEST_BATCH + 1) if held_out % size == 0)  # each face counts once
        batches = {"train": min(self.settings.batch, faces["train"].faces), "dev": batch}
        lists = {part: self._face_files / f"{part}.txt" for part in batches}
        message = stage_net(net, lists, batches, classes=self.target.classes, frozen=stage == "frozen")
        param = self._solver(stage, folder, run.prefix, held_out // batch)
        losses = read_losses(folder / PLATEAU, param.max_iter + 1)
        if param.max_iter not in losses:
            train(run, message, param, self.say, device=self.device, weights=weights, on_plateau=True, only_best=True)
            losses = read_losses(folder / PLATEAU, param.max_iter + 1)
        best = best_iteration(losses)
        if best is None:
            hint = "try a smaller --base-lr"
            raise SolverError("the loss is never finite", code="not-finite", field=f"stage {stage}", hint=hint)
        if best == 0 and net.head[0] not in read_weights(weights):  # a head that was never trained is in no file
            best = param.max_iter
        self.say(f"{stage}: loss {losses[best]:.4g} on held-out persons at iteration {best} of {param.max_iter}")
        results = StageResults(param.max_iter, best, losses, tuple(divisions(losses)))
        return run.snapshot(best) if best else weights, results

    def _solver(self, stage: str, folder: Path, prefix: Path, tests: int) -> pb.SolverParameter:
        """Return the solver of a stage; its rate is divided by ten when the loss on held-out persons stalls."""
        half = self.settings.iterations // 2
        interval = max(1, half // _TESTS)
        return pb.SolverParameter(
            net=str(folder / "net.prototxt"), type="Adam", base_lr=self.settings.base_lr * _RATES[stage],
            momentum=0.9, momentum2=0.999, weight_decay=0.0005, lr_policy="multistep", gamma=0.1,
            max_iter=half // interval * interval, test_iter=[tests], test_interval=interval, snapshot=interval,
            display=interval, snapshot_prefix=str(prefix), random_seed=self.settings.seed,
        )  # fmt: skip

    def _values(self, faces: FacesFound) -> Doubles:
        return np.concatenate([values for _, values in read_faces(self._face_files, faces)])

    def _outputs(self, values: Doubles) -> Outputs:
        """Return the meaning of the new net's outputs; the values of train are the ends of dimensions."""
        target = self.target
        if target.own and self.model.outputs is not None:
            return self.model.outputs
        if target.classes:
            return Labels(target.names)
        unit = f"of {self.table.path.name}"
        ends = zip(target.names, values.min(axis=0).tolist(), values.max(axis=0).tolist(), strict=True)
        return Dimensions(
            tuple(Dimension(name, low, high if high > low else low + 1, unit) for name, low, high in ends)
        )

    def _scores(
        self,
        nets: Mapping[str, tuple[pb.NetParameter, Path]],
        faces: Mapping[str, FacesFound],
        values: Mapping[str, Doubles],
    ) -> dict[str, dict[str, AnswerScores]]:
        """Score each net on the held-out persons, and the best constant answer with them."""
        target = self.target
        constant = target.constant(values["train"])
        held_out = {part: values[part] for part in faces if part != "train"}
        scores = {
            part: {"constant": target.score(np.repeat(constant, len(true), axis=0), true)}
            for part, true in held_out.items()
        }
        for name, (definition, weights) in nets.items():
            built = load_net(definition, weights).to(self.device)
            for part, true in held_out.items():
                data = (images for images, _ in read_faces(self._face_files, faces[part]))
                outputs = [_outputs_of(built, images, self.device, len(target.names)) for images in data]
                scores[part][name] = target.score(np.concatenate(outputs), true)
        return scores


def _export(net: HeadedNet, weights: Path, target: Target, path: Path) -> None:
    """Write weights for the net to apply: the head answers in the labels' units."""
    blobs = dict(read_weights(weights))
    if not (target.own or target.classes):
        weight, bias = blobs[net.head[0]]
        assert weight is not None
        assert bias is not None
        scale, shift = (np.array(values, np.float32) for values in (target.scale, target.shift))
        blobs[net.head[0]] = [weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), bias * scale + shift]
    save_weights(load_net(net.deploy, blobs), path)


@torch.no_grad()
def _outputs_of(net: torch.nn.Module, data: Singles, device: torch.device, count: int) -> Doubles:
    """Return the outputs (N, k) of a net for the faces of a file."""
    batches = (torch.from_numpy(data[first : first + _TEST_BATCH]) for first in range(0, len(data), _TEST_BATCH))
    outputs: list[Doubles] = [net(batch.to(device)).reshape(-1, count).double().cpu().numpy() for batch in batches]
    return np.concatenate(outputs)
