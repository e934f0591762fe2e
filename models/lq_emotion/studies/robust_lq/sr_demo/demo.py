"""From images to a trained SR-FCN: every step leaves files, and a step whose files exist is not repeated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import lq_emotion.prototxt as prototxt
from caffe_compat.build.net import CaffeNet, load_net
from caffe_compat.cli.convert import save_state_dict
from caffe_compat.errors import FileError, WeightsError
from caffe_compat.formats.files import write_text
from lq_emotion.common.fingerprints import fingerprint
from lq_emotion.common.json_files import find_record, write_json
from lq_emotion.common.lists import write_list
from lq_emotion.studies.robust_lq.sr_demo import image_sources, workspace
from lq_emotion.studies.robust_lq.sr_demo.figures import draw_comparison
from lq_emotion.studies.robust_lq.sr_demo.recipe import DEPLOY, WHY, DemoRecipe, make_recipe, test_stride
from lq_emotion.studies.robust_lq.sr_demo.results import DemoFiles, DemoResults, DemoSettings, Psnr
from lq_emotion.studies.robust_lq.sr_demo.upscaling import METHODS, Enlarged, enlarge
from lq_emotion.training.loss_plot import draw_losses
from lq_emotion.training.trainer import Run, read_curves
from matlab_ports import generate_test, generate_train

Say = Callable[[str], None]


@dataclass
class Demo:
    """A run of the demo.

    Attributes
    ----------
    out : folder for everything that is written.
    images : the user's images; scikit-image's by default.
    scale : downsampling factor of the low-resolution images.
    iterations : updates in all.
    fresh : delete the files of an earlier run.
    say : receives lines of progress.
    seconds : time of each step of this run.
    """

    out: Path
    images: Path | None = None
    scale: int = 3
    iterations: int = 400
    fresh: bool = False
    say: Say = print
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> DemoResults:
        """Do what is not done yet, write the results to results.json, and return them.

        Raises
        ------
        CaffeCompatError, OSError
            Images or files cannot be used.
        InterruptedTrainingError
            Ctrl-C while training.
        """
        settings = self._write_images()
        earlier = self._earlier()
        if earlier is not None:
            self.say(f"{self.out} is finished; --fresh starts over, more --iterations continue")
            return earlier
        patches = self._write_data()
        recipe = make_recipe(
            self.out.resolve(), scale=self.scale, iterations=self.iterations, test_patches=patches["test"]
        )
        self._train(recipe)
        net = self._load_net()
        enlarged = self._compare(net)
        self._draw(enlarged, settings)
        self._convert(net)
        results = self._results(recipe, patches, enlarged)
        write_json(results.to_json(), self.out / workspace.RESULTS)
        return results

    def _earlier(self) -> DemoResults | None:
        """Return the results in the folder, if all their files exist."""
        results = find_record(self.out / workspace.RESULTS, DemoResults)
        if results is None:
            return None
        finished = results.iterations == self.iterations and results.files == self._files
        return results if finished and all(map(self._exists, results.files.to_json().values())) else None

    @property
    def _training(self) -> Run:
        return Run(self.out, "sr_fcn", "SR-FCN")

    @property
    def _files(self) -> DemoFiles:
        weights = self._training.snapshot(self.iterations).relative_to(self.out)
        return DemoFiles(
            caffemodel=str(weights),
            solverstate=str(weights.with_suffix(".solverstate")),
            torch=workspace.TORCH,
            comparison=workspace.COMPARISON,
            losses=workspace.LOSSES,
            log="train.log",
        )

    def _exists(self, name: str) -> bool:
        return (self.out / name).is_file()

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)
        self.say(f"{name}: done in {self.seconds[name]:.1f} s")

    def _write_images(self) -> DemoSettings:
        folder = self.out / workspace.IMAGES
        if self.images and self.images.resolve().is_relative_to(folder.resolve()):
            problem = "the demo writes its images to this folder"
            raise FileError(problem, code="conflict", file=self.images, hint="copy your images to another folder")
        sources = image_sources.of_folder(self.images, self.say) if self.images else image_sources.built_in()
        changes = make_recipe(self.out, scale=self.scale, iterations=1, test_patches=64).changes
        settings = workspace.settings(sources, self.scale, changes)
        made_from = fingerprint(settings.to_json())
        journal = workspace.open_journal(self.out)
        if workspace.claim(self.out, journal, made_from, self.say, fresh=self.fresh):
            return settings
        with self._step("images"):
            files = image_sources.write(sources, folder, _bar("images"))
            journal.note(workspace.DEMO, made_from, files, settings=settings.to_json())
        trained = ", ".join(source.name for source in sources if not source.held_out)
        self.say(f"  trained on: {trained}; held out: {', '.join(settings.held_out)}")
        return settings

    def _write_data(self) -> dict[str, int]:
        """Write train.h5 and test.h5 by the authors' scripts; return how many patches each holds."""
        stride = test_stride(workspace.count_pixels(self._held_out()))
        settings: dict[str, dict[str, Any]] = {"train": {}, "test": {"stride": stride}}
        patches = {}
        for name, script in (("train", generate_train), ("test", generate_test)):
            path = self.out / f"{name}.h5"
            if not path.is_file():
                with self._step(path.name):
                    folder = self.out / workspace.IMAGES / name
                    script(folder, path, scale=self.scale, pattern="*.png", **settings[name])
            write_list([path], self.out / f"{name}.txt")
            patches[name] = workspace.count_rows(path)
        self.say(f"  {patches['train']} patches to train on, {patches['test']}, {stride} pixels apart, to test")
        return patches

    def _held_out(self) -> list[Path]:
        return sorted((self.out / workspace.IMAGES / "test").glob("*.png"))

    def _train(self, recipe: DemoRecipe) -> None:
        self.say("training SR-FCN by the authors' prototxt/pretrain, changed to take a minute or two:")
        for change in recipe.changes:
            self.say(f"  {change}")
        self.say(f"  ({WHY})")
        if self._training.snapshot(self.iterations).is_file():
            self.say(f"  iteration {self.iterations} exists already")
            return
        write_text(recipe.net, self.out / "net.prototxt")
        write_text(recipe.solver, self.out / "solver.prototxt")
        self._training.prefix.parent.mkdir(exist_ok=True)
        with self._step("training"):
            self._training.train(recipe.solver, self.say)

    def _load_net(self, weights: Path | None = None) -> CaffeNet:
        """Return the authors' deploy net with the trained weights."""
        return load_net(prototxt.path(DEPLOY), weights or self._training.snapshot(self.iterations))

    def _compare(self, net: CaffeNet) -> list[Enlarged]:
        with self._step("held-out images"):
            return [enlarge(net, path, self.scale) for path in _bar("held out")(self._held_out())]

    def _draw(self, enlarged: Sequence[Enlarged], settings: DemoSettings) -> None:
        subtitle = f"scale {self.scale}, SR-FCN after {self.iterations} iterations, PSNR of Y over the whole image"
        with self._step("figures"):
            draw_comparison(enlarged, settings.focus, self.out / workspace.COMPARISON, subtitle)
            draw_losses(read_curves(self._training.log, self.iterations), self.out / workspace.LOSSES)

    def _convert(self, net: CaffeNet) -> None:
        """Write the weights for PyTorch, and check that a net that loads them computes the same bits."""
        path = self.out / workspace.TORCH
        save_state_dict(net, path)
        again = load_net(prototxt.path(DEPLOY), seed=0)
        again.load_state_dict(torch.load(path, weights_only=True))
        blob = torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            same = torch.equal(net(blob), again(blob))
        if not same:
            raise WeightsError("computes other numbers than the caffemodel it was made of", code="mismatch", file=path)
        self.say(f"{path.name}: reloaded, it computes the same bits as the caffemodel")

    def _results(self, recipe: DemoRecipe, patches: dict[str, int], enlarged: Sequence[Enlarged]) -> DemoResults:
        scores = {image.name: image.psnr() for image in enlarged}
        means = {method: sum(psnr[method] for psnr in scores.values()) / len(scores) for method in METHODS}
        return DemoResults(
            scale=self.scale,
            iterations=self.iterations,
            changes=recipe.changes,
            patches=patches,
            psnr={name: _finite_psnr(psnr) for name, psnr in scores.items()},
            mean_psnr=_finite_psnr(means),
            gain_over_bicubic=_finite(means["sr_fcn"] - means["bicubic"]),
            test_loss=read_curves(self._training.log, self.iterations).test,
            files=self._files,
            seconds=dict(self.seconds),
        )


def _bar(label: str) -> Callable[[Sequence[Any]], Iterable[Any]]:
    """A progress bar on a terminal, nothing elsewhere."""

    def show(items: Sequence[Any]) -> Iterable[Any]:
        bar: Iterable[Any] = tqdm(items, desc=label, disable=None, leave=False)
        return bar

    return show


def _finite_psnr(psnr: Mapping[str, float]) -> Psnr:
    return Psnr(**{method: _finite(value) for method, value in psnr.items()})


def _finite(value: float) -> float | None:
    """Return what JSON can hold."""
    return round(value, 4) if math.isfinite(value) else None
