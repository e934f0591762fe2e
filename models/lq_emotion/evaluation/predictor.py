"""Wrap a Caffe net as the predictor that `matlab_ports.eval_video` calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import lq_emotion.prototxt as prototxt
from caffe_compat.build.net import CaffeNet, load_net
from caffe_compat.errors import DataError, NetError, WeightsError
from lq_emotion.datasets.avec.layout import DIMENSIONS
from lq_emotion.evaluation.settings import PredictionSettings
from lq_emotion.nets.cnn_d import ONE_FRAME
from lq_emotion.training.run import DEPLOY as RUN_DEPLOY
from lq_emotion.training.run import find_weights, training_in
from matlab_ports.eval_video import FrameSource, eval_video

DEPLOY = "matlabscripts/recon/deploy/model_1F_CNN+D.prototxt"


class Predictor:
    """Run a net for TEST with one input on batches of transposed frames; each becomes (frame - mean) / std.

    `mean` and `std` are for nets trained on files made with mean_sub and norm.

    The last bits of a prediction depend on its batch (differences of 4e-7 measured), because the order of summation
    does. On CUDA devices convolutions are computed in full float32.
    """

    def __init__(
        self,
        net: CaffeNet,
        device: str | torch.device = "cpu",
        *,
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        if len(net.inputs) != 1:
            raise NetError(
                f"the net has {len(net.inputs)} inputs ({', '.join(net.inputs)}), expected one",
                code="wrong-count", field="--net",
            )  # fmt: skip
        shape = net.caffe.shapes[net.inputs[0]]
        if len(shape) != 4 or shape[1] != 1:
            raise NetError(
                "lq-emotion feeds a net one frame at a time, (N, 1, H, W)",
                code="shape-mismatch", layer=net.inputs[0], value=tuple(shape), hint=ONE_FRAME,
            )  # fmt: skip
        self._device = torch.device(device)
        self._net = net.to(self._device)
        self._input = net.inputs[0]
        self._mean, self._std = np.float32(mean), np.float32(std)

    @property
    def net(self) -> CaffeNet:
        """The net."""
        return self._net

    def require_size(self, frames_hw: tuple[int, int], path: Path) -> None:
        """Refuse a recording whose frames (H, W in MATLAB's order) the net does not take."""
        height, width = frames_hw
        columns, rows = self._net.caffe.shapes[self._input][2:]
        if (width, height) != (columns, rows):
            raise DataError(
                f"frames are {height} x {width}, the net expects {rows} x {columns}",
                code="shape-mismatch", file=path,
            )  # fmt: skip

    @property
    def outputs(self) -> int:
        """Values that the net gives for a frame."""
        return math.prod(self._net.caffe.shapes[self._net.returns[0]][1:])

    def output_of(self, label: str, labels: int = 1) -> int:
        """Return which of the net's outputs estimates a label: a net with two outputs gives valence, then arousal."""
        if labels > self.outputs:
            problem = f"the net has {self.outputs} output, the crops have {labels} labels"
            hint = "evaluate it on crops of its own dimension"
            raise NetError(problem, code="wrong-count", field="--net", hint=hint)
        return DIMENSIONS.index(label) if self.outputs == len(DIMENSIONS) else 0

    @torch.no_grad()
    def forward(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        """Return the output for frames (n, 1, W, H), by blob."""
        values = (batch - self._mean) / self._std if self._mean or self._std != 1 else batch
        inputs = {self._input: torch.from_numpy(np.ascontiguousarray(values)).to(self._device)}
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            output = self._net.forward_dict(inputs)[self._net.returns[0]]
        return {self._net.returns[0]: output.cpu().numpy()}


def predict_frames(
    predictor: Predictor,
    frames: FrameSource,
    path: Path,
    *,
    batch: int = 64,
    progress: Callable[[int], object] = lambda _: None,
) -> npt.NDArray[np.float64]:
    """Predict all frames of a recording, `batch` at a time: (T, k) float64, the net's outputs, all finite."""
    height, width, _ = frames.shape
    predictor.require_size((height, width), path)
    outputs = eval_video(frames, predictor, batch=batch, progress=progress).outputs
    invalid = np.argwhere(~np.isfinite(outputs))
    if invalid.size:
        frame, column = invalid[0]
        problem = f"the prediction for frame {frame + 1} is {outputs[frame, column]}"
        raise DataError(problem, code="not-finite", file=path)
    return outputs


def find_definition(weights: Path) -> Path:
    """Return the deploy definition of the run that wrote the weights, else the authors' for CNN+D."""
    folder = _run_folder(weights)
    of_run = None if folder is None else folder / RUN_DEPLOY
    return of_run if of_run is not None and of_run.is_file() else Path(prototxt.path(DEPLOY))


def load_predictor(
    weights: Path,
    net: Path | None = None,
    *,
    device: str | torch.device = "cpu",
    mean: float = 0.0,
    std: float = 1.0,
) -> tuple[Predictor, Path]:
    """Load a net with its weights, a caffemodel or the folder of a run; return the predictor and the file of weights.

    The definition is `net`, by default that of `find_definition`; the other options are those of `Predictor`.
    """
    path = find_weights(weights)
    definition = net or find_definition(path)
    loaded = load_net(definition, path)
    missing = loaded.meta["report"].left_at_filler
    if missing:
        hint = f"pass the definition of these weights with --net instead of {Path(definition).name}"
        raise WeightsError(f"no weights for {', '.join(missing)}", code="mismatch", file=path, hint=hint)
    return Predictor(loaded, device, mean=mean, std=std), path


def predictor_of(settings: PredictionSettings, device: torch.device) -> tuple[Predictor, Path]:
    """Load the net of a prediction, with the normalisation of the data that it was trained on; see `load_predictor`."""
    folder = _run_folder(find_weights(settings.weights))
    identity = None if folder is None else training_in(folder)
    mean, std = (0.0, 1.0) if identity is None else (identity.mean or 0.0, identity.std or 1.0)
    return load_predictor(
        settings.weights, settings.net, device=device, mean=mean if settings.mean is None else settings.mean,
        std=std if settings.std is None else settings.std,
    )  # fmt: skip


def _run_folder(weights: Path) -> Path | None:
    """Return the folder of the training that wrote the weights, if one did."""
    return weights.absolute().parent.parent if weights.parent.name == "snapshots" else None
