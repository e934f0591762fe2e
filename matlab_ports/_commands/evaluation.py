"""``python -m matlab_ports eval_video`` and ``run_eval``: the evaluation scripts from the command line."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matlab_ports._commands.pycaffe_net import MODULE, PycaffeNet
from matlab_ports._support.writing import require_folder
from matlab_ports.eval_video import eval_video
from matlab_ports.matfile import open_frames, savemat
from matlab_ports.run_eval import DEVELOPMENT, Evaluation, run_eval

SCRIPTS = ("eval_video", "run_eval")


def add(commands: Any) -> None:
    """Add the parsers."""
    one = commands.add_parser(
        eval_video.__name__,
        help=summary(eval_video),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="The file holds results (1 x T) and, where it is asked for, feature (300 x T).",
    )
    one.add_argument("data", type=Path, help="a recording's MAT-file, which holds video")
    one.add_argument("--savepath", type=Path, default=Path("output.mat"), help="the MAT-file to write")
    _add_net(one)
    several = commands.add_parser(
        run_eval.__name__,
        help=summary(run_eval),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="The file holds what the script leaves in the workspace: cells file_name, results, feature, "
        "ground_truth and video_time, numbers RMSE, CC, CCC for each recording, total_RMSE, total_CC, total_CCC.",
    )
    several.add_argument("--data_path", type=Path, required=True, help="the folder of the recordings' MAT-files")
    several.add_argument("--file_name", nargs="+", default=DEVELOPMENT, help="recordings")
    several.add_argument("--savepath", type=Path, help="the MAT-file to write; none if not given")
    _add_net(several)


def summary(script: Callable[..., Any]) -> str:
    """Return what a script makes: its module's first line without the script's name."""
    return str(sys.modules[script.__module__].__doc__).splitlines()[0].partition(": ")[2]


def _add_net(options: argparse.ArgumentParser) -> None:
    model, weights = "../recon/deploy/model_1F_CNN+D.prototxt", "../recon/weights/class/HQ.caffemodel"
    options.add_argument("--single_model", type=Path, default=Path(model), help="the net's deploy definition")
    options.add_argument("--single_weights", type=Path, default=Path(weights), help="its weights")
    options.add_argument("--save_feature", type=int, default=0, choices=(0, 1), help="1: keep blob fc4 of every frame")
    options.add_argument("--batch", type=int, default=64, help="frames handed to the net at once; 1 in the script")
    options.add_argument("--caffe", default=MODULE, help="the package to run the net with: caffe for BVLC's own")


def run(script: str, options: dict[str, Any], *, say: Callable[[str], None]) -> None:
    """Run one of the two scripts; `say` takes a line at a time.

    Raises
    ------
    PortError
        A file cannot be used or written, or the net cannot be run.
    """
    savepath, keep = options["savepath"], bool(options["save_feature"])
    if savepath is not None:
        require_folder(savepath)
    net = PycaffeNet(options["single_model"], options["single_weights"], module=options["caffe"], save_feature=keep)
    if script == "eval_video":
        start = time.perf_counter()
        with open_frames(options["data"]) as frames:
            output = eval_video(frames, net, keep, batch=options["batch"])
        made = {"results": output.results} | ({} if output.feature is None else {"feature": output.feature})
        savemat(savepath, made)
        say(f"{savepath}: {', '.join(made)} of {output.results.size} frames in {time.perf_counter() - start:.1f} s")
        return
    found = run_eval(
        net,
        options["data_path"],
        file_name=options["file_name"],
        save_feature=keep,
        batch=options["batch"],
        evaluated=lambda name, output: say(f"Evaluated {name}: {output.results.size} frames"),
    )
    rows = zip(found.file_name, found.RMSE, found.CC, found.CCC, strict=True)
    for name, *numbers in (*rows, ("together", found.total_RMSE, found.total_CC, found.total_CCC)):
        say(f"{name}: " + ", ".join(f"{key} {x:.6f}" for key, x in zip(("RMSE", "CC", "CCC"), numbers, strict=True)))
    if savepath is not None:
        savemat(savepath, workspace(found))
        say(f"{savepath}: {'results and features' if keep else 'results'} of {len(found.file_name)} recordings")


def workspace(found: Evaluation) -> dict[str, npt.ArrayLike]:
    """Return the variables that the script leaves, as `matlab_ports.savemat` takes them."""
    features = found.feature or tuple(np.empty((0, 0)) for _ in found.file_name)
    cells = {"file_name": found.file_name, "feature": features}
    for name in ("results", "ground_truth", "video_time"):
        cells[name] = tuple(values[None] for values in getattr(found, name))
    numbers = {name: getattr(found, name) for name in ("RMSE", "CC", "CCC", "total_RMSE", "total_CC", "total_CCC")}
    return {name: _cell(values) for name, values in cells.items()} | numbers


def _cell(values: Sequence[Any]) -> npt.NDArray[Any]:
    cell = np.empty((1, len(values)), object)
    for number, value in enumerate(values):
        cell[0, number] = value
    return cell
