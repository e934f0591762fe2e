"""A Caffe net as `matlab_ports.eval_video` wants it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import lq_emotion.prototxt as prototxt
from caffe_compat.build.net import CaffeNet, load_net
from caffe_compat.errors import DataError, NetError, WeightsError
from lq_emotion.training.run_folder import DEPLOY as OF_RUN
from lq_emotion.training.trainer import find_weights
from matlab_ports.eval_video import FEATURE

DEPLOY = "matlabscripts/recon/deploy/model_1F_CNN+D.prototxt"


class Predictor:
    """Runs a net on batches of transposed frames.

    Parameters
    ----------
    net : built for TEST, with one input.
    device : where to run.
    save_feature : return blob fc4 as well, which takes longer.
    mean, std : subtracted from and divided out of every frame, for nets trained on files made with mean_sub and norm.

    Notes
    -----
    A frame's prediction depends on the batch it comes in by some units of the last place (4e-7 measured), as the
    libraries below add up in other orders. On CUDA devices convolutions are computed in full float32.
    """

    def __init__(
        self,
        net: CaffeNet,
        device: str | torch.device = "cpu",
        *,
        save_feature: bool = False,
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        if len(net.inputs) != 1:
            raise NetError(f"takes {len(net.inputs)} inputs, {', '.join(net.inputs)}; one is expected", field="--net")
        if save_feature and FEATURE not in net.caffe.shapes:
            raise NetError("is not among the net's blobs", field="save_feature", value=FEATURE)
        self._device = torch.device(device)
        self._net = net.to(self._device)
        self._input = net.inputs[0]
        self._save_feature = save_feature
        self._mean, self._std = np.float32(mean), np.float32(std)

    def check(self, frames_hw: tuple[int, int], path: Path) -> None:
        """Refuse a recording whose frames (H, W in MATLAB's order) the net does not take.

        Raises
        ------
        DataError
        """
        wanted = tuple(self._net.caffe.shapes[self._input][1:])
        found = (1, frames_hw[1], frames_hw[0])
        if found != wanted:
            size = " x ".join(map(str, frames_hw))
            raise DataError(f"its frames are {size}; the net takes {wanted[2]} x {wanted[1]}", file=path)

    @torch.no_grad()
    def forward(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
        """Run on frames (n, 1, W, H); return the output first, then fc4 where it is asked for."""
        values = (batch - self._mean) / self._std if self._mean or self._std != 1 else batch
        inputs = {self._input: torch.from_numpy(np.ascontiguousarray(values)).to(self._device)}
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found = self._net.every_blob(inputs) if self._save_feature else self._net.forward_dict(inputs)
        wanted = (self._net.returns[0], *((FEATURE,) if self._save_feature else ()))
        return {name: found[name].cpu().numpy() for name in wanted}


def definition_of(weights: Path) -> Path:
    """Return the net to apply: the one a run left beside its snapshots, else the authors' deploy form of CNN+D."""
    left = weights.absolute().parent.parent / OF_RUN
    return left if weights.parent.name == "snapshots" and left.is_file() else Path(prototxt.path(DEPLOY))


def load_predictor(
    weights: Path,
    net: Path | None = None,
    *,
    device: str | torch.device = "cpu",
    save_feature: bool = False,
    mean: float = 0.0,
    std: float = 1.0,
) -> tuple[Predictor, Path]:
    """Load a net that predicts valence.

    Parameters
    ----------
    weights : a caffemodel, or the folder of a run, whose last snapshot is taken.
    net : a definition; by default as `definition_of` says.
    device, save_feature, mean, std : see `Predictor`.

    Returns
    -------
    The predictor, and the file of weights.

    Raises
    ------
    CaffeCompatError
        A file cannot be used, or the weights leave a part of the net without values.
    """
    path = find_weights(weights)
    definition = net or definition_of(path)
    loaded = load_net(definition, path)
    left = loaded.meta["report"].left_at_filler
    if left:
        hint = f"--net names another definition than {Path(definition).name}"
        raise WeightsError(f"has nothing for {', '.join(left)}", file=path, hint=hint)
    return Predictor(loaded, device, save_feature=save_feature, mean=mean, std=std), path
