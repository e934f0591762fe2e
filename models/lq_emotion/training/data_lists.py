"""The lists that name HDF5 files to train and test with."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from caffe_compat.data.hdf5 import find_listed, listed_names
from caffe_compat.errors import CaffeCompatError, DataError, FileError, raise_together
from caffe_compat.formats.hdf5_reader import find_beside, open_hdf5
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.nets.cnn_d import ONE_FRAME


@dataclass(frozen=True)
class Listed:
    """The HDF5 files of one phase.

    Attributes
    ----------
    path : the list.
    rows : samples in all files.
    sides : rows of each file's images; 0 for other data.
    stores : files with the samples: those of the list, or those that they link to.
    labels : numbers that a sample is labelled with; 1 where the label is an image.
    """

    path: Path
    rows: int
    sides: dict[Path, int] = field(default_factory=dict)
    stores: tuple[Path, ...] = ()
    labels: int = 1

    def identity(self) -> tuple[tuple[str, str], ...]:
        """Return name and SHA-256 of each file with samples; reads all of them."""
        return tuple((path.name, file_sha256(path)) for path in self.stores)


def read_list(folder: Path, phase: str) -> Listed:
    """Read ``train.txt`` or ``test.txt`` and look into the files it names, as HDF5Data will find them.

    One error names all files that are missing, damaged or of several frames a sample.
    """
    path = folder.resolve() / f"{phase}.txt"
    if not path.is_file():
        hint = "lq-emotion data h5 writes train.txt and test.txt, which name the HDF5 files"
        raise FileError(f"no {phase}.txt found", code="file-missing", file=folder, hint=hint)
    names = listed_names(path.read_text(encoding="utf-8"))
    if not names:
        raise DataError("names no HDF5 file", code="empty", file=path, hint="write one name per line")
    problems: list[CaffeCompatError] = []
    rows, stores = 0, []
    sides: dict[Path, int] = {}
    labels = 1
    for name in names:
        file = find_listed(name, path)
        if file is None or not file.is_file():
            problems.append(
                DataError(
                    "HDF5 file not found", code="file-missing", file=path, value=name, hint="write the list again"
                )
            )
            continue
        try:
            with ExitStack() as stack:
                data = find_beside(stack.enter_context(open_hdf5(file)), "data", file, stack)
                shape = data.shape
                rows += int(shape[0])
                if len(shape) == 4 and shape[1] != 1:
                    problems.append(_channels(file, int(shape[1])))
                sides[file] = int(shape[-1]) if len(shape) == 4 else 0
                stores.append(Path(data.file.filename))
                label = data.file.get("label")
                labels = int(label.shape[1]) if label is not None and len(label.shape) == 2 else labels
        except FileError as error:
            problems.append(error)
        except (OSError, KeyError, AttributeError) as error:
            problems.append(
                DataError(f"damaged HDF5 file: {error}", code="damaged-file", file=file, hint="write it again")
            )
    raise_together(problems)
    return Listed(path, rows, sides, tuple(stores), labels)


def _channels(file: Path, channels: int) -> DataError:
    problem = "lq-emotion's nets see one frame at a time"
    return DataError(problem, code="shape-mismatch", file=file, field="channels", value=channels, hint=ONE_FRAME)
