"""The data of a training: the lists that name HDF5 files to train and test with, and the net on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from caffe_compat.data.hdf5 import find_listed, listed_names
from caffe_compat.errors import CaffeCompatError, DataError, FileError, raise_together
from caffe_compat.formats.hdf5_reader import find_linked, open_hdf5
from caffe_compat.layers import facts
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.common.fingerprints import file_sha256
from lq_emotion.common.lists import write_list
from lq_emotion.nets.blocks import SIZE
from lq_emotion.nets.cnn_d import ONE_FRAME, shares, with_outputs
from lq_emotion.nets.definitions import NetBuilder
from lq_emotion.nets.switches import PaperSwitches


@dataclass(frozen=True)
class Listed:
    """The HDF5 files of one phase."""

    path: Path
    """The list."""
    rows: int
    """Samples in all files."""
    sides: dict[Path, int]
    """Rows of each file's images; 0 for other data."""
    stores: tuple[Path, ...]
    """Files with the samples: those of the list, or those that they link to."""
    labels: int
    """Numbers that a sample is labelled with; 1 where the label is an image."""

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
    rows, labels = 0, 1
    stores: list[Path] = []
    sides: dict[Path, int] = {}
    for name in names:
        file = find_listed(name, path)
        if file is None or not file.is_file():
            hint = "write the list again"
            problems.append(DataError("HDF5 file not found", code="file-missing", file=path, value=name, hint=hint))
            continue
        try:
            with ExitStack() as stack:
                data = find_linked(stack.enter_context(open_hdf5(file)), "data", file, stack)
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
            problem = f"damaged HDF5 file: {error}"
            problems.append(DataError(problem, code="damaged-file", file=file, hint="write it again"))
    raise_together(problems)
    return Listed(path, rows, sides, tuple(stores), labels)


def _channels(file: Path, channels: int) -> DataError:
    problem = "lq-emotion's nets see one frame at a time"
    return DataError(problem, code="shape-mismatch", file=file, field="channels", value=channels, hint=ONE_FRAME)


def sources(data: Mapping[str, Listed], factors: Sequence[int], folder: Path) -> dict[str, list[Path]]:
    """Return by phase the lists of files for the net's branches: the user's, or one for each size in `folder`."""
    if len(factors) == 1:
        return {phase: [listed.path] for phase, listed in data.items()}
    return {phase: [folder / f"{phase}_{factor}.txt" for factor in factors] for phase in data}


def write_sources(data: Mapping[str, Listed], factors: Sequence[int], folder: Path) -> None:
    """Write the lists of a mixture of sizes that `sources` names."""
    if len(factors) == 1:
        return
    for phase, paths in sources(data, factors, folder).items():
        for factor, path in zip(factors, paths, strict=True):
            files = [file for file, side in data[phase].sides.items() if side * factor == SIZE]
            write_list(files, path)


def make_net(
    builder: NetBuilder,
    switches: PaperSwitches,
    factors: Sequence[int],
    files: Mapping[str, Sequence[Path]],
    *,
    batch: int | None,
    filler: str | None,
    outputs: int = 1,
) -> tuple[pb.NetParameter, list[str]]:
    """Return the definition of a net on the user's files, and what differs from the one that was built.

    `files` are, by phase, the lists of files of the net's branches; `batch` and `filler` replace those of the
    definition; a sample has `outputs` labels.
    """
    made = builder.train(switches, factors)
    changes = []
    if outputs != 1:
        with_outputs(made, outputs)
        changes.append(f"num_output of fc5: 1 -> {outputs}")
    for phase, code in (("train", pb.TRAIN), ("test", pb.TEST)):
        layers = [layer for layer in made.layer if layer.type == "HDF5Data" and layer.include[0].phase == code]
        for layer, path in zip(layers, files[phase], strict=True):
            layer.hdf5_data_param.source = str(path)
        size = sum(layer.hdf5_data_param.batch_size for layer in layers)
        if phase == "train" and batch is not None and batch != size:
            changes.append(f"batch_size: {size} -> {batch}")
            for layer, share in zip(layers, shares(batch, len(layers)), strict=True):
                layer.hdf5_data_param.batch_size = share
    return made, changes + ([] if filler is None else _fill(made, filler))


def _fill(net: pb.NetParameter, filler: str) -> list[str]:
    changes: dict[str, None] = {}
    for layer in net.layer:
        if name := facts(layer.type).weight_message:
            param = getattr(layer, name)
            if param.weight_filler.type != filler:
                changes[f"weight_filler: {param.weight_filler.type} -> {filler}"] = None
                param.weight_filler.CopyFrom(pb.FillerParameter(type=filler))
    return list(changes)
