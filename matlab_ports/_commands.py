"""The commands ``python -m matlab_ports eval_video`` and ``run_eval``, whose net pycaffe or a package like it runs."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matlab_ports._support.errors import PortError
from matlab_ports._support.files import require_folder
from matlab_ports.eval_video import FEATURE, eval_video
from matlab_ports.matfile import open_frames, savemat
from matlab_ports.run_eval import DEVELOPMENT, Evaluation, run_eval

SCRIPTS = ("eval_video", "run_eval")
MODULE = "caffe_compat.pycaffe"  # the engine's, which the ports know by name only; BVLC's own is "caffe"


def add(commands: Any) -> None:
    """Add the parsers of both commands."""
    video = add_command(
        commands, eval_video, "The MAT-file has results (1 x T) and, with --save_feature 1, feature (300 x T)."
    )
    video.add_argument("data", type=Path, help="MAT-file of a recording, with the variable video")
    video.add_argument("--savepath", type=Path, default=Path("output.mat"), help="MAT-file to write")
    _add_net(video)
    partition = add_command(
        commands,
        run_eval,
        "The MAT-file has the script's workspace: the cells file_name, results, feature, ground_truth and "
        "video_time; RMSE, CC and CCC of each recording; total_RMSE, total_CC and total_CCC.",
    )
    partition.add_argument("--data_path", type=Path, required=True, help="folder of the recordings' MAT-files")
    partition.add_argument("--file_name", nargs="+", default=DEVELOPMENT, help="names of the recordings")
    partition.add_argument("--savepath", type=Path, help="MAT-file to write (default: none)")
    _add_net(partition)


def add_command(commands: Any, script: Callable[..., Any], epilog: str | None = None) -> argparse.ArgumentParser:
    """Add a script's parser; its help is the first line of the script's module without name and full stop."""
    text = str(sys.modules[script.__module__].__doc__).splitlines()[0].partition(": ")[2].rstrip(".")
    parser: argparse.ArgumentParser = commands.add_parser(
        script.__name__, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter, epilog=epilog
    )
    return parser


def _add_net(options: argparse.ArgumentParser) -> None:
    model, weights = "../recon/deploy/model_1F_CNN+D.prototxt", "../recon/weights/class/HQ.caffemodel"
    options.add_argument("--single_model", type=Path, default=Path(model), help="deploy definition of the net")
    options.add_argument("--single_weights", type=Path, default=Path(weights), help="weights of the net")
    options.add_argument("--save_feature", type=int, default=0, choices=(0, 1), help="1: save blob fc4 of every frame")
    options.add_argument("--batch", type=int, default=64, help="frames per forward pass; 1 in the script")
    options.add_argument("--caffe", default=MODULE, help="Python package that runs the net, for instance caffe")


def run(script: str, options: dict[str, Any], *, report: Callable[[str], None]) -> None:
    """Run one of the two scripts; `report` takes one line at a time."""
    savepath, save_feature = options["savepath"], bool(options["save_feature"])
    if savepath is not None:
        require_folder(savepath)
    net = PycaffeNet(
        options["single_model"], options["single_weights"], module=options["caffe"], save_feature=save_feature
    )
    if script == "eval_video":
        start = time.perf_counter()
        with open_frames(options["data"]) as frames:
            output = eval_video(frames, net, save_feature, batch=options["batch"])
        variables = {"results": output.results} | ({} if output.feature is None else {"feature": output.feature})
        savemat(savepath, variables)
        seconds = time.perf_counter() - start
        report(f"{savepath}: {' and '.join(variables)} of {output.results.size} frames in {seconds:.1f} s")
        return
    evaluation = run_eval(
        net,
        options["data_path"],
        file_name=options["file_name"],
        save_feature=save_feature,
        batch=options["batch"],
        progress=lambda name, output: report(f"Evaluated {name}: {output.results.size} frames"),
    )
    rows = zip(evaluation.file_name, evaluation.RMSE, evaluation.CC, evaluation.CCC, strict=True)
    total = ("total", evaluation.total_RMSE, evaluation.total_CC, evaluation.total_CCC)
    for name, *numbers in (*rows, total):
        report(f"{name}: " + ", ".join(f"{key} {x:.6f}" for key, x in zip(("RMSE", "CC", "CCC"), numbers, strict=True)))
    if savepath is not None:
        savemat(savepath, workspace(evaluation))
        content = "results and features" if save_feature else "results"
        report(f"{savepath}: {content} of {len(evaluation.file_name)} recordings")


def workspace(evaluation: Evaluation) -> dict[str, npt.ArrayLike]:
    """Return the variables of the script's workspace, as `matlab_ports.savemat` takes them."""
    features = evaluation.feature or tuple(np.empty((0, 0)) for _ in evaluation.file_name)
    cells = {"file_name": evaluation.file_name, "feature": features}
    for name in ("results", "ground_truth", "video_time"):
        cells[name] = tuple(values[None] for values in getattr(evaluation, name))
    numbers = {name: getattr(evaluation, name) for name in ("RMSE", "CC", "CCC", "total_RMSE", "total_CC", "total_CCC")}
    return {name: _cell(values) for name, values in cells.items()} | numbers


def _cell(values: Sequence[Any]) -> npt.NDArray[Any]:
    cell = np.empty((1, len(values)), object)
    for number, value in enumerate(values):
        cell[0, number] = value
    return cell


class PycaffeNet:
    """A net as ``caffe.Net(model, weights, 'test')`` of a package builds it; with `save_feature` it returns fc4 too."""

    def __init__(
        self, single_model: str | Path, single_weights: str | Path, *, module: str, save_feature: bool = False
    ) -> None:
        for name, path in (("single_model", single_model), ("single_weights", single_weights)):
            if not Path(path).is_file():  # Caffe's own package ends the process
                raise PortError("no such file", code="file-missing", file=path, field=name)
        try:
            caffe = importlib.import_module(module)
        except ImportError as error:
            problem, hint = f"cannot be imported: {error}", f"use {MODULE}"
            raise PortError(problem, code="dependency-missing", field="caffe", value=module, hint=hint) from None
        self._model = Path(single_model)
        try:
            self._net: Any = caffe.Net(str(single_model), str(single_weights), caffe.TEST)
        except Exception as error:  # its types depend on the package
            raise PortError(f"{module} cannot build the net: {error}", code="invalid", file=self._model) from error
        self._input, self._output = self._net.inputs[0], self._net.outputs[0]
        if save_feature and FEATURE not in self._net.blobs:
            raise PortError("the net has no such blob", code="field-missing", file=self._model, field=FEATURE)
        self._outputs = (self._output, FEATURE) if save_feature else (self._output,)

    def forward(self, batch: npt.NDArray[np.float32], /) -> dict[str, npt.NDArray[Any]]:
        """See `matlab_ports.eval_video.Net`."""
        blob = self._net.blobs[self._input]
        expected = tuple(blob.data.shape[1:])
        if batch.shape[1:] != expected:
            problem = f"frames have shape {_format_shape(batch.shape[1:])}, the net expects {_format_shape(expected)}"
            raise PortError(problem, code="shape-mismatch", file=self._model, field=self._input)
        blob.reshape(*batch.shape)
        blob.data[...] = batch
        self._net.forward()
        return {name: np.array(self._net.blobs[name].data) for name in self._outputs}


def _format_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
