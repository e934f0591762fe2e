"""The folder of installed models: one folder a model, complete or absent."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from caffe_compat.errors import DataError, FileError
from caffe_compat_base.partial_file import locked_folder, partial_name, remove_abandoned
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.nets.known.model import KnownModel

PathLike = str | os.PathLike[str]
VARIABLE = "LQ_EMOTION_HOME"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_WEIGHTS = (".caffemodel", ".caffemodel.h5")
_SUMS = "weights.sha256"  # in the form of sha256sum


def default_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what the application keeps: LQ_EMOTION_HOME, or ``lq-emotion`` in the user's cache.

    The user's cache is XDG_CACHE_HOME, or ``.cache`` in the user's folder.
    """
    if chosen := environment.get(VARIABLE):
        return Path(chosen)
    cache = environment.get("XDG_CACHE_HOME", "")
    if Path(cache).is_absolute():
        return Path(cache, "lq-emotion")
    try:
        return Path.home() / ".cache" / "lq-emotion"
    except RuntimeError:
        problem, hint = "this user has no folder in which to keep models", f"set {VARIABLE} to a folder"
        raise DataError(problem, code="field-missing", field=VARIABLE, hint=hint) from None


class Store:
    """Installed models.

    Parameters
    ----------
    home : folder; by default `default_home`. It need not exist.

    Notes
    -----
    ``home/models/NAME/`` has, for each part of a model, PART.caffemodel, PART.prototxt and PART.preprocess.json, and
    for nets about faces PART.labels.txt and PART.crop.json. weights.sha256 has the SHA-256 of the weights, which are
    compared with it whenever the model is loaded by its name.
    """

    def __init__(self, home: PathLike | None = None) -> None:
        self.home = default_home() if home is None else Path(home)

    def folder(self, name: str) -> Path:
        """Return the folder of a model, installed or not; refuse a name that no folder can have."""
        if not _NAME.fullmatch(name):
            hint = "use letters, digits and . _ + -"
            raise DataError("cannot be the name of a model", code="invalid", field="name", value=name, hint=hint)
        return self.home / "models" / name

    def names(self) -> tuple[str, ...]:
        """Return the names of the models that have a folder, sorted."""
        folder = self.home / "models"
        if not folder.is_dir():
            return ()
        return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)))

    def weights(self, name: str) -> dict[str, Path]:
        """Return the files of weights in a model's folder by part, sorted; empty where it is not installed."""
        folder = self.folder(name)
        if not folder.is_dir():
            return {}
        files = sorted(path for path in folder.iterdir() if path.name.endswith(_WEIGHTS) and path.is_file())
        return {part_name(path): path for path in files}

    def has(self, model: KnownModel) -> bool:
        """Return whether every net of a known model is installed."""
        return {part.name for part in model.parts} <= self.weights(model.name).keys()

    def require_unchanged(self, name: str) -> None:
        """Refuse weights that are not as they were installed."""
        sums = self.folder(name) / _SUMS
        if not sums.is_file():  # installed by an earlier version
            return
        for line in sums.read_text(encoding="utf-8").splitlines():
            expected, _, file = line.partition("  ")
            path = sums.with_name(Path(file).name)
            if not path.is_file() or file_sha256(path) != expected:
                problem = "is not as it was installed: its SHA-256 differs"
                hint = f"install it again: lq-emotion models get {name}"
                raise FileError(problem, code="damaged-file", file=path, hint=hint)

    @contextmanager
    def new(self, name: str) -> Iterator[Path]:
        """Yield an empty folder that becomes the model's, in the place of an older one, when the block ends well."""
        final = self.folder(name)
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(final.parent.resolve())
            partial = partial_name(final)
            partial.mkdir()
            try:
                with locked_folder(partial):
                    (partial / "new").mkdir()
                    yield partial / "new"
                    _write_sums(partial / "new")
                    if final.exists():
                        final.rename(partial / "old")
                    (partial / "new").rename(final)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            problem = f"cannot be written: {error.strerror or error}"
            hint = f"set {VARIABLE} to a folder that can be written"
            raise FileError(problem, code="file-unwritable", file=self.home, hint=hint) from error


def _write_sums(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.name.endswith(_WEIGHTS))
    lines = (f"{file_sha256(path)}  {path.name}\n" for path in files)
    (folder / _SUMS).write_text("".join(lines), encoding="utf-8")


def part_name(weights: PathLike) -> str:
    """Return the name of a file of weights without its suffix: ``det1`` for ``det1.caffemodel.h5``."""
    return Path(weights).name.removesuffix(".h5").removesuffix(".caffemodel")


def sidecar_path(weights: PathLike, suffix: str) -> Path:
    """Return the path of a file next to weights: ``a/det1.caffemodel`` and ``.prototxt`` -> ``a/det1.prototxt``."""
    return Path(weights).with_name(part_name(weights) + suffix)
