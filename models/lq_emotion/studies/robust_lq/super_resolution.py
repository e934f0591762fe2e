"""SR-FCN trained on a few images: images, patches, training, and a comparison with interpolation, each a stage.

The authors' net and solver are made small enough for minutes; every change is listed.

ROOT has ``images`` (train and test), the files of patches with their lists, ``train.log``, ``snapshots``, the figures,
``sr_fcn.pt`` and ``results.json``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from glob import escape
from pathlib import Path
from typing import Any

import torch

import lq_emotion.prototxt as prototxt
from caffe_compat.build.net import CaffeNet, load_net
from caffe_compat.cli.convert import save_state_dict
from caffe_compat.errors import FileError, WeightsError
from caffe_compat.formats.files import parse_text, read_net, read_solver
from caffe_compat.formats.hdf5_reader import find, open_hdf5
from caffe_compat.formats.image_size import open_image
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.journal import Journal
from lq_emotion.common.json_files import read_record, write_json
from lq_emotion.common.lists import write_list
from lq_emotion.common.progress import Say
from lq_emotion.common.records import Record
from lq_emotion.common.settings import option
from lq_emotion.studies.robust_lq import image_sources
from lq_emotion.studies.robust_lq.image_sources import ImageSource
from lq_emotion.studies.robust_lq.upscaling import DEPLOY, METHODS, draw_comparison, enlarge
from lq_emotion.training.losses import draw_losses, read_curves
from lq_emotion.training.run import Run, train
from lq_emotion.training.settings import differences
from lq_emotion.workflow.stages import Stage
from lq_emotion.workflow.study import LEDGER, Study, StudySettings
from matlab_ports import generate_test, generate_train

RESULTS = "results.json"
NET = "pretrain/Pretrain_net.prototxt"
SOLVER = "pretrain/Pretrain_solver.prototxt"
AUTHORS_SCALE = 12

# The shipped fillers and rate are made for 500,000 iterations. Measured at scale 3 on astronaut, where bicubic has
# 28.59 dB: as shipped, 100 iterations leave the output at a constant (11.7 dB); these settings get past bicubic in 100
# to 200 iterations and to 29.3 dB in 400. SGD with Xavier's filler, clipped gradients and rates of 0.001 to 0.005 stays
# below 28 dB for 200, Adam with the shipped filler below 25. At scale 12 (bicubic 21.08) these stay at 20.7 for 200.
WHY = "as shipped, made for 500,000 iterations, the net still gives a constant after a hundred"
_SOLVER_CHANGES = """
type: "Adam" momentum2: 0.999 base_lr: 0.0004 lr_policy: "step" stepsize: 200 gamma: 0.5
test_interval: 50 display: 1 snapshot: 50 solver_mode: CPU random_seed: 1
"""
_BATCH = 8
_FILLER = "xavier"
_TEST_PATCHES = 100  # about; each takes 10 ms, and every test uses all
_AUTHORS_TEST_STRIDE = 20


@dataclass(frozen=True, kw_only=True)
class SrSettings(StudySettings):
    """Settings of ``study sr``."""

    out: Path = option(Path("sr_demo_out"), "output folder", metavar="ROOT")
    seed: int = option(0, offered=False)  # the recipe's is 1
    threads: int = option(2, offered=False)
    jobs: int = option(1, offered=False)  # each stage needs the one before
    cluster: str | None = option(None, offered=False)
    dry_run: bool = option(False, offered=False)
    images: Path | None = option(
        None, "your images, of which the last fifth is held out (default: images of scikit-image)", metavar="FOLDER"
    )
    iterations: int = option(400, "iterations in all; a larger number continues an earlier run", least=1)
    scale: int = option(3, "upsampling factor; the authors used 12", least=2, most=16)

    @cached_property
    def sources(self) -> list[ImageSource]:
        """The images."""
        return image_sources.of_folder(self.images) if self.images else image_sources.built_in()

    @property
    def run(self) -> Run:
        """The folder of the training."""
        return Run(self.out, "sr_fcn", "SR-FCN")

    @property
    def weights(self) -> Path:
        """The trained weights."""
        return self.run.snapshot(self.iterations)


@dataclass(frozen=True)
class SrResults(Record):
    """results.json; PSNR is of Y, in dB, None where it is infinite."""

    scale: int
    iterations: int
    changes: tuple[str, ...]
    """What differs from the authors' definitions, one phrase each."""
    patches: Mapping[str, int]
    """Their number, to train and to test with."""
    psnr: Mapping[str, Mapping[str, float | None]]
    """By held-out image and by method (`METHODS`)."""
    mean_psnr: Mapping[str, float | None]
    gain_over_bicubic: float | None
    test_loss: Mapping[int, float]


def _stages(settings: SrSettings) -> list[Stage[None]]:
    """Return the stages: images, patches, training, comparison."""
    out, sources = settings.out, settings.sources
    if settings.images and settings.images.is_relative_to((out / "images").resolve()):
        problem = "the study writes its images to this folder"
        raise FileError(problem, code="conflict", file=settings.images, hint="copy your images to another folder")
    _require_own(settings)
    images = tuple(image_sources.path_of(source, out / "images") for source in sources)
    patches = tuple(out / f"{phase}.{kind}" for phase in ("train", "test") for kind in ("h5", "txt"))
    losses, results = out / "loss.png", (out / "super_resolution.png", out / "sr_fcn.pt", out / RESULTS)
    held_out = [source.name for source in sources if source.held_out]
    made = {"images": {source.name: source.identity for source in sources}, "held out": held_out}
    scale = {"scale": settings.scale}
    _, _, changes = make_recipe(scale=settings.scale, iterations=settings.iterations, test_patches=64)
    trained = {**scale, "changes": list(changes), "threads": settings.threads}
    compared = {"focus": {source.name: source.focus for source in sources if source.held_out}}
    return [
        Stage("images", partial(_write_images, settings), made, (), images),
        Stage("patches", partial(_write_patches, settings), scale, images, patches),
        Stage("training", partial(_train, settings), trained, patches, (settings.weights, losses)),
        Stage("comparison", partial(_compare, settings), {**trained, **compared}, (settings.weights, *images), results),
    ]


def _require_own(settings: SrSettings) -> None:
    """Refuse unusable images, and images that the user put in place of the study's, before anything is written."""
    journal = Journal(settings.out / LEDGER, root=settings.out)
    for source in settings.sources:
        pixels, path = source.load(), image_sources.path_of(source, settings.out / "images")
        if path.is_file() and not (journal.wrote(path) or image_sources.has_pixels(path, pixels)):
            problem, hint = "exists, and study sr did not write it", "move it away, or choose another folder: --out"
            raise FileError(problem, code="foreign-files", file=path, hint=hint)


def _write_images(settings: SrSettings, say: Say) -> None:
    folder, journal = settings.out / "images", Journal(settings.out / LEDGER, root=settings.out)
    image_sources.write(settings.sources, folder, filter(journal.wrote, folder.glob("*/*.png")))
    say(f"held out: {', '.join(source.name for source in settings.sources if source.held_out)}")


def _write_patches(settings: SrSettings, say: Say) -> None:
    """Write train.h5 and test.h5 by the authors' scripts, and the lists that name them."""
    out = settings.out
    stride = test_stride(_pixels(_images(settings, held_out=True)))
    options: dict[str, dict[str, Any]] = {"train": {}, "test": {"stride": stride}}
    for name, script in (("train", generate_train), ("test", generate_test)):
        path = out / f"{name}.h5"
        images = _images(settings, held_out=name == "test")
        pattern = [escape(image.name) for image in images]
        script(images[0].parent, path, scale=settings.scale, pattern=pattern, **options[name])
        write_list([path], out / f"{name}.txt")
        say(f"{name}: {_rows(path)} patches")


def _train(settings: SrSettings, say: Say) -> None:
    """Train the authors' net, or go on; more iterations continue an earlier training of the same patches."""
    out, run = settings.out, settings.run
    patches = _rows(out / "test.h5")
    net, solver, changes = make_recipe(scale=settings.scale, iterations=settings.iterations, test_patches=patches)
    for change in (*changes, WHY):
        say(change)
    solver.snapshot_prefix = str(run.prefix)
    train(run, net, solver, say, inputs=[out / "train.h5", out / "test.h5"], longer=True)
    draw_losses(read_curves(run.log, settings.iterations), out / "loss.png")


def _compare(settings: SrSettings, say: Say) -> None:
    """Enlarge the held-out images by each method; write the figure, the weights for PyTorch and results.json."""
    out = settings.out
    net = load_net(prototxt.path(DEPLOY), settings.weights)
    enlarged = [enlarge(net, path, settings.scale) for path in _images(settings, held_out=True)]
    focus = {source.name: source.focus for source in settings.sources if source.focus}
    subtitle = f"scale {settings.scale}, SR-FCN after {settings.iterations} iterations, PSNR of Y over the whole image"
    draw_comparison(enlarged, focus, out / "super_resolution.png", subtitle)
    _convert(net, out / "sr_fcn.pt", say)
    scores = {image.name: image.psnr() for image in enlarged}
    means = {method: sum(psnr[method] for psnr in scores.values()) / len(scores) for method in METHODS}
    patches = {name: _rows(out / f"{name}.h5") for name in ("train", "test")}
    _, _, changes = make_recipe(scale=settings.scale, iterations=settings.iterations, test_patches=patches["test"])
    results = SrResults(
        scale=settings.scale,
        iterations=settings.iterations,
        changes=changes,
        patches=patches,
        psnr={name: {method: _finite(value) for method, value in psnr.items()} for name, psnr in scores.items()},
        mean_psnr={method: _finite(value) for method, value in means.items()},
        gain_over_bicubic=_finite(means["sr_fcn"] - means["bicubic"]),
        test_loss=read_curves(settings.run.log, settings.iterations).test,
    )
    write_json(results.to_json(), out / RESULTS)


def _convert(net: CaffeNet, path: Path, say: Say) -> None:
    """Write the weights for PyTorch, and check that a net that loads them computes the same bits."""
    save_state_dict(net, path)
    again = load_net(prototxt.path(DEPLOY), seed=0)
    again.load_state_dict(torch.load(path, weights_only=True))
    blob = torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        same = torch.equal(net(blob), again(blob))
    if not same:
        raise WeightsError("computes other numbers than the caffemodel it was made of", code="mismatch", file=path)
    say(f"{path.name}: reloaded, it computes the same bits as the caffemodel")


def _images(settings: SrSettings, *, held_out: bool) -> list[Path]:
    sources = (source for source in settings.sources if source.held_out == held_out)
    return sorted(image_sources.path_of(source, settings.out / "images") for source in sources)


def _pixels(paths: Sequence[Path]) -> int:
    """Return the number of pixels of images."""
    total = 0
    for path in paths:
        with open_image(path) as image:
            total += image.width * image.height
    return total


def _rows(data: Path) -> int:
    """Return the number of patches in an HDF5 file."""
    try:
        with open_hdf5(data) as file:
            return int(find(file, "data", data).shape[0])
    except (OSError, KeyError, AttributeError) as error:
        problem, hint = f"damaged HDF5 file: {error}", "remove it, and run again"
        raise FileError(problem, code="damaged-file", file=data, hint=hint) from None


def _finite(value: float) -> float | None:
    """Return what JSON can store."""
    return round(value, 4) if math.isfinite(value) else None


def test_stride(pixels: int) -> int:
    """Return how far apart the patches to test on are, for held-out images with this number of pixels in all."""
    return max(_AUTHORS_TEST_STRIDE, round(math.sqrt(pixels / _TEST_PATCHES)))


def make_recipe(
    *, scale: int, iterations: int, test_patches: int
) -> tuple[pb.NetParameter, pb.SolverParameter, tuple[str, ...]]:
    """Return net, solver, and what differs from the authors' definitions, one phrase each.

    The training is in a folder with train.txt, test.txt, net.prototxt and snapshots/.
    """
    shipped_net, shipped_solver = read_net(prototxt.path(NET)), read_solver(prototxt.path(SOLVER))
    net, net_changes = _small_net(shipped_net)
    solver = pb.SolverParameter()
    solver.CopyFrom(shipped_solver)
    small = parse_text(_SOLVER_CHANGES, pb.SolverParameter)
    small.max_iter = iterations
    small.test_iter.append(test_patches // 2)
    for field, _ in small.ListFields():
        solver.ClearField(field.name)
    solver.MergeFrom(small)
    solver.net, solver.snapshot_prefix = "net.prototxt", "snapshots/sr_fcn"
    scales = () if scale == AUTHORS_SCALE else (f"scale: {AUTHORS_SCALE} -> {scale}",)
    return net, solver, (*scales, *net_changes, *differences(shipped_solver, solver))


def _small_net(shipped: pb.NetParameter) -> tuple[pb.NetParameter, list[str]]:
    net = pb.NetParameter()
    net.CopyFrom(shipped)
    changes: dict[str, None] = {}  # a set that keeps its order
    for layer in net.layer:
        if layer.type == "HDF5Data":
            train = layer.include[0].phase == pb.TRAIN
            data = layer.hdf5_data_param
            data.source = "train.txt" if train else "test.txt"
            if train:
                changes[f"batch_size: {data.batch_size} -> {_BATCH}"] = None
                data.batch_size = _BATCH
        elif layer.type == "Convolution":
            filler = layer.convolution_param.weight_filler
            changes[f"weight_filler: {filler.type}, std {filler.std:g} -> {_FILLER}"] = None
            filler.CopyFrom(pb.FillerParameter(type=_FILLER))
    return net, list(changes)


def _results(settings: SrSettings, _seconds: Mapping[str, float | None]) -> SrResults:
    return read_record(settings.out / RESULTS, SrResults)


STUDY = Study("sr", _stages, _results)
