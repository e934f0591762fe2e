"""Load or describe a model by its name, or from a caffemodel that is recognised or described by files next to it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from caffe_compat.build.preprocess import Preprocessing, load_preprocessing, read_preprocessing, to_json
from caffe_compat.errors import DataError, FileError, NetError, WeightsError, did_you_mean
from caffe_compat.formats.files import read_net
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import find_record
from lq_emotion.faces.detect import Haar
from lq_emotion.faces.face import FaceDetector, Image
from lq_emotion.faces.mtcnn import Mtcnn
from lq_emotion.faces.ultra_light import UltraLight
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.model import KNOWN, KnownModel, Task, find_model, known_model
from lq_emotion.nets.known.outputs import Outputs, read_outputs
from lq_emotion.nets.known.recognition import recognise, stored_shapes
from lq_emotion.nets.known.store import Store, part_name, sidecar_path

if TYPE_CHECKING:
    import torch

    from caffe_compat.build.net import CaffeNet

PathLike = str | os.PathLike[str]
DETECTORS = ("mtcnn", "ultra-light", "ultra-light-slim", "haar")
_BATCH = 32  # faces in one pass of a net


@dataclass(frozen=True, eq=False, kw_only=True)
class Description:
    """A model without its net."""

    name: str
    """The model's name; for an unknown model, the file's."""
    weights: Path
    """The caffemodel; the files that describe it are in the same folder."""
    definition: pb.NetParameter
    preprocessing: Preprocessing
    """Preprocessing from a crop (uint8, red first) to the net's input, without the batch's axis."""
    outputs: Outputs | None
    """Classes or dimensions, in the order of the k outputs; None for identities, or things in an image."""
    crop: FaceCrop
    """Rule for cutting a face out of the frame."""
    limits: str
    """Known limits of its estimates, for users; empty for an unknown model."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedModel(Description):
    """A net with its weights, and what is needed to apply it to faces."""

    net: CaffeNet
    """Built for TEST, on the given device. It takes (N, channels, height, width) float32 and returns (N, k) or
    (N, k, 1, 1): estimates of the k classes or dimensions."""
    outputs: Outputs

    def estimates(self, crops: Sequence[Image]) -> npt.NDArray[np.float32]:
        """Return the net's estimates for n faces, cut out as by `crop`: (n, k) float32, in the order of `outputs`."""
        import torch

        device = next((parameter.device for parameter in self.net.parameters()), torch.device("cpu"))
        estimates = [np.zeros((0, len(self.outputs.names)), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(crops), _BATCH):
                batch = np.stack([self.preprocessing(crop) for crop in crops[start : start + _BATCH]])
                values = self.net(torch.from_numpy(batch).to(device))
                estimates.append(values.reshape(len(batch), -1).float().cpu().numpy())
        return np.concatenate(estimates)


def load_model(
    name_or_path: PathLike,
    *,
    definition: PathLike | None = None,
    preprocess: PathLike | None = None,
    labels: PathLike | None = None,
    home: PathLike | None = None,
    device: str | torch.device = "cpu",
) -> LoadedModel:
    """Load a net that estimates something about a face.

    Parameters
    ----------
    name_or_path : a known model or one that the user added, by name, or the path of a caffemodel or of a folder with
        one. What is a file is a path; what is a model's name is no folder.
    definition, preprocess, labels : the prototxt, the preprocessing (JSON) and the file of labels for weights that are
        not recognised; each by default the file next to the weights, ``NAME.prototxt``, ``NAME.preprocess.json`` and
        ``NAME.labels.txt`` (one class a line, or one dimension a line: name, low, high, unit with tabs between).
    home : folder of the installed models; by default `Store`'s.
    device : torch device.

    Raises
    ------
    CaffeCompatError
        No such model (the nearest name is suggested), not installed (code ``not-prepared``; the hint is the command
        that fetches it), no net about faces, unknown weights without the files that describe them, weights that do not
        fit.
    """
    description = find_description(name_or_path, home, definition=definition, preprocess=preprocess, labels=labels)
    net = _build(description.definition, description.weights, device)
    model = LoadedModel(**vars(description), net=net)
    _require_one_output(model)
    return model


def load_parts(
    name_or_folder: PathLike, *, home: PathLike | None = None, device: str | torch.device = "cpu"
) -> Mapping[str, CaffeNet]:
    """Load all nets of a model by the names of its parts: ``det1``, ``det2``, ``det3`` for ``mtcnn``.

    Parameters
    ----------
    name_or_folder : a known model, or a folder with a caffemodel for each part under the part's name.
    home, device : see `load_model`.

    Raises
    ------
    CaffeCompatError
        As `load_model`.

    Notes
    -----
    A model of one net has one part of its own name. The nets of MTCNN take transposed images.
    """
    place = Path(name_or_folder)
    if place.is_file():
        recognition = recognise(place)
        if recognition is None:
            raise _unknown(place, "is not recognised")
        return {recognition.part.name: _build(recognition.part.definition(), place, device)}
    if place.is_dir():
        model, folder = _model_in(place), place
    else:
        store, model = Store(home), find_model(os.fspath(name_or_folder))
        if not store.has(model):
            raise _not_installed(model)
        store.require_unchanged(model.name)
        folder = store.folder(model.name)
    files = {part_name(file): file for file in sorted(folder.glob("*.caffemodel*"))}
    return {part.name: _build(part.definition(), files[part.name], device) for part in model.parts}


def load_detector(name: str, *, home: PathLike | None = None, device: str | torch.device = "cpu") -> FaceDetector:
    """Return the face detector of a name in `DETECTORS`; `home` is the folder of the installed models."""
    if name == "haar":
        return Haar()
    model = "ultra-light-rfb" if name == "ultra-light" else name
    nets = load_parts(model, home=home, device=device)
    return Mtcnn(nets) if name == "mtcnn" else UltraLight(nets[model])


def find_description(name_or_path: PathLike, home: PathLike | None = None, **options: Any) -> Description:
    """Return the description of the weights that a name or a path means; `options` are those of `describe`."""
    path, model = _weights_of(name_or_path, Store(home))
    if model is not None and options.get("any_outputs") and not path.name:
        raise _not_installed(model)
    if model is None and (recognition := recognise(path)):
        model = recognition.model
    return describe(path, model, **options)


def describe(
    weights: Path,
    published: KnownModel | None,
    *,
    definition: PathLike | None = None,
    preprocess: PathLike | None = None,
    labels: PathLike | None = None,
    margin: float | None = None,
    any_outputs: bool = False,
) -> Description:
    """Return the description of weights: from the files given, else those next to them, else from the published model.

    A definition next to the weights counts only where the weights are not recognised: it may be the one to train. One
    error names all files that are missing. With `any_outputs`, models that estimate nothing about a face, and unknown
    weights without labels, are accepted: a training may start from them.
    """
    takes_images = published is not None and published.task in (Task.FACE_RECOGNITION, Task.IMAGE_CLASSES)
    if published is not None and published.outputs is None and not (any_outputs and takes_images):
        uses = "as a detector" if published.task is Task.FACE_DETECTION else "with load_parts"
        problem, hint = f"is for {published.task}, it estimates nothing about a face", f"use it {uses}"
        raise DataError(problem, code="invalid", field="model", value=published.name, hint=hint)
    prototxt, sidecar = _given_or_sidecar(definition, weights, ".prototxt"), load_preprocessing(weights)
    names = _given_or_sidecar(labels, weights, ".labels.txt")
    part = published.parts[0] if published else None
    sources = {
        "--definition": part or prototxt,
        "--preprocess": part or preprocess or sidecar,
        "--labels": part or names or any_outputs,
    }
    if missing := [option for option, source in sources.items() if not source]:
        raise _unknown(weights, f"is not recognised and lacks {', '.join(missing)}")
    crop = find_record(sidecar_path(weights, ".crop.json"), FaceCrop)
    crop = crop or (published.crop if published else None) or FaceCrop()
    crop = crop if margin is None else replace(crop, margin=margin)
    outputs = read_outputs(names) if names else published.outputs if published else None
    preprocessing = read_preprocessing(preprocess) if preprocess else sidecar or (part.preprocessing if part else None)
    net = read_net(prototxt) if prototxt and (definition or not part) else part.definition() if part else None
    assert outputs is not None or any_outputs  # else one of them was missing
    assert preprocessing is not None
    assert net is not None
    name = published.name if published else part_name(weights)
    return Description(
        name=name, weights=weights, definition=net, preprocessing=preprocessing, outputs=outputs, crop=crop,
        limits=published.limits if published else "",
    )  # fmt: skip


def summary(name_or_file: PathLike, home: PathLike | None = None) -> dict[str, Any]:
    """Return the facts about a model, or about a file of weights, as JSON values by name."""
    path, store = Path(name_or_file), Store(home)
    if path.is_file():
        return _summary_of_file(path)
    name = os.fspath(name_or_file)
    if name in store.names() and known_model(name) is None:
        weights = next(iter(store.weights(name).values()))
        return {"name": name, "installed": str(store.folder(name))} | _summary_of_sidecars(weights)
    model = find_model(name)
    installed = str(store.folder(model.name)) if store.has(model) else None
    preprocessing = json.loads(to_json(model.parts[0].preprocessing))
    preprocessing.pop("version", None)
    return model.to_json() | {"installed": installed, "preprocessing": preprocessing}


def _summary_of_file(path: Path) -> dict[str, Any]:
    recognition = recognise(path)
    shapes = stored_shapes(path)
    count = sum(math.prod(shape) for blobs in shapes.values() for shape in blobs)
    facts = {"file": str(path), "sha256": file_sha256(path), "layers": len(shapes), "values": count}
    if recognition is None:
        return facts | {"recognised": None} | _summary_of_sidecars(path)
    same, part = list(recognition.same), recognition.part.name
    return facts | {"recognised": same, "part": part} | recognition.model.to_json()


def _summary_of_sidecars(weights: Path) -> dict[str, Any]:
    """Return the contents of the files next to weights; where some are missing, the hint to add them."""
    if not all(sidecar_path(weights, suffix).is_file() for suffix in (".prototxt", ".preprocess.json", ".labels.txt")):
        return {"lacks": "a definition, a preprocessing and labels: lq-emotion models add FILE --help"}
    description = describe(weights, None)
    assert description.outputs is not None
    return {"outputs": description.outputs.to_json(), "crop": description.crop.to_json()}


def _given_or_sidecar(given: PathLike | None, weights: Path, suffix: str) -> Path | None:
    if given is not None:
        return Path(given)
    path = sidecar_path(weights, suffix)
    return path if path.is_file() else None


def _weights_of(name_or_path: PathLike, store: Store) -> tuple[Path, KnownModel | None]:
    """Return the weights that a name or a path means, and the known model of that name."""
    path, name = Path(name_or_path), os.fspath(name_or_path)
    published = known_model(name)
    if path.is_file():
        return path, None
    if path.name.endswith((".caffemodel", ".h5")):
        raise FileError("no such file", code="file-missing", file=path)
    if path.is_dir() and published is None and name not in store.names():
        inside = sorted(path.glob("*.caffemodel"))
        if len(inside) != 1:
            problem = f"has {len(inside)} caffemodels"
            raise FileError(problem, code="wrong-count", file=path, hint="pass a caffemodel, or a folder with one")
        return inside[0], None
    if published is None and name not in store.names():
        names = [*(model.name for model in KNOWN), *store.names()]
        hint = did_you_mean(name, names) or "list them: lq-emotion models list"
        raise DataError("there is no model of this name", code="name-unknown", field="model", value=name, hint=hint)
    files = store.weights(published.name if published else name)
    if published is not None and published.outputs is not None and not files:
        raise _not_installed(published)
    if not files:
        return Path(), published
    store.require_unchanged(published.name if published else name)
    return next(iter(files.values())), published


def _not_installed(model: KnownModel) -> DataError:
    hint = model.way_to_install
    return DataError("is not installed", code="not-prepared", field="model", value=model.name, hint=hint)


def _unknown(weights: Path, problem: str) -> WeightsError:
    hint = (
        "keep NAME.prototxt, NAME.preprocess.json and NAME.labels.txt next to the weights, or use lq-emotion models add"
    )
    return WeightsError(problem, code="field-missing", file=weights, hint=hint)


def _model_in(folder: Path) -> KnownModel:
    """Return the known model all of whose parts are in a folder."""
    files = {part_name(file) for file in folder.glob("*.caffemodel*")}
    for model in KNOWN:
        if {part.name for part in model.parts} <= files:
            return model
    hint = "MTCNN is det1.caffemodel, det2.caffemodel and det3.caffemodel"
    raise FileError("has no known model", code="file-missing", file=folder, hint=hint)


def _build(definition: pb.NetParameter, weights: Path, device: str | torch.device) -> CaffeNet:
    from caffe_compat.build.net import load_net

    net = load_net(definition, weights)
    net.to(device)
    return net


def _require_one_output(model: LoadedModel) -> None:
    net = model.net
    if len(net.inputs) != 1 or len(net.returns) != 1:
        problem = f"the net has {len(net.inputs)} inputs and {len(net.returns)} outputs, expected one of each"
        raise NetError(problem, code="wrong-count", file=model.weights, hint="pass a deploy definition")
    count = math.prod(net.caffe.shapes[net.returns[0]][1:])
    if count != len(model.outputs.names):
        problem = f"the net has {count} outputs, the labels name {len(model.outputs.names)}"
        raise NetError(problem, code="wrong-count", file=model.weights, field="labels")
