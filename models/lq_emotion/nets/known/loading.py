"""Load a model by its name, or from a caffemodel that is recognised or described by files beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caffe_compat.build.preprocess import Preprocessing
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.outputs import Outputs

if TYPE_CHECKING:
    import torch

    from caffe_compat.build.net import CaffeNet

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A net with its weights, and what is needed to apply it to faces.

    Attributes
    ----------
    name : of the model; that of the file for an unknown one.
    net : built for TEST, on the device asked for. It takes (N, channels, height, width) float32 and returns (N, k).
    preprocessing : from a crop (uint8, red first) to what the net takes, without the batch's axis.
    outputs : the classes or the dimensions, in the order of the k outputs.
    crop : how a face is cut out of the frame for the net.
    weights : the caffemodel; other files about it lie beside it.
    limits : what users should know before they believe an estimate; empty for an unknown model.
    """

    name: str
    net: CaffeNet
    preprocessing: Preprocessing
    outputs: Outputs
    crop: FaceCrop
    weights: Path
    limits: str


def load_model(
    name_or_path: PathLike,
    *,
    definition: PathLike | None = None,
    preprocess: PathLike | None = None,
    labels: PathLike | None = None,
    home: PathLike | None = None,
    device: str | torch.device = "cpu",
) -> LoadedModel:
    """Load a net that says something about a face.

    Parameters
    ----------
    name_or_path : a known model or one that the user added, by name, or the path of a caffemodel. Something that is a
        file is a path.
    definition, preprocess, labels : the prototxt, the preprocessing (JSON) and the file of labels for weights that are
        not recognised; each by default the file beside the weights, ``NAME.prototxt``, ``NAME.preprocess.json`` and
        ``NAME.labels.txt`` (one class a line, or one dimension a line: name, low, high, unit with tabs between).
    home : folder of the installed models; by default `Store`'s.
    device : of torch.

    Raises
    ------
    CaffeCompatError
        No such model (the nearest name is suggested), not installed (code ``not-prepared``; the hint is the command
        that fetches it), no net about faces, unknown weights without the files that describe them, weights that do not
        fit.
    """
    raise NotImplementedError


def load_parts(
    name_or_folder: PathLike, *, home: PathLike | None = None, device: str | torch.device = "cpu"
) -> Mapping[str, CaffeNet]:
    """Load all nets of a model by the names of its parts: ``det1``, ``det2``, ``det3`` for ``mtcnn``.

    Parameters
    ----------
    name_or_folder : a known model, or a folder that holds a caffemodel for each part under the part's name.
    home, device : as for `load_model`.

    Raises
    ------
    CaffeCompatError
        As `load_model`.

    Notes
    -----
    A model of one net has one part of its own name. The nets of MTCNN take transposed images.
    """
    raise NotImplementedError
