"""``convert``: convert weights to another format, or hand a net to other programs."""

from __future__ import annotations

import io
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch

from caffe_compat.build.net import CaffeNet, load_net
from caffe_compat.build.preprocess import (
    Preprocessing,
    load_preprocessing,
    preprocessing_of,
    read_preprocessing,
    save_preprocessing,
)
from caffe_compat.build.weights import Blobs, caffe_blobs, copy_weights, not_finite, read_weights, save_weights
from caffe_compat.cli.flags import add_inputs, add_state, stages
from caffe_compat.errors import CaffeCompatError, Code, FileError, NetError, WeightsError, did_you_mean, raise_together
from caffe_compat.export import export
from caffe_compat.export.int8 import to_int8
from caffe_compat.export.portable import read_labels
from caffe_compat.formats.files import atomic_path, is_hdf5, write_weights_h5
from caffe_compat.formats.regular_file import require_file

_TORCH, _HDF5, _BINARY = "a PyTorch state_dict", "HDF5 weights", "a caffemodel"
FORMATS = {".pt": _TORCH, ".pth": _TORCH, ".h5": _HDF5, ".hdf5": _HDF5, ".caffemodel": _BINARY}
"""File name suffix -> format of the weights."""
_PROGRAMS = {".onnx": "onnx", ".pt2": "pt2", ".py": "python", ".safetensors": "safetensors"}
"""File name suffix -> format of other programs, by its name in :mod:`caffe_compat.export`."""


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.add_argument("source", help="caffemodel, HDF5 weights, or a PyTorch state_dict (.pt, .pth)")
    part.add_argument(
        "target", help=f"file to write; its suffix selects the format: {', '.join([*FORMATS, *_PROGRAMS])}"
    )
    part.add_argument(
        "--model",
        metavar="FILE",
        help="net definition (prototxt); required except to write a caffemodel as HDF5",
    )
    part.add_argument(
        "--preprocess",
        metavar="FILE",
        help="image preprocessing of the net: a .preprocess.json, or a net whose data layer defines it "
        "(default: the one saved with the source)",
    )
    group = part.add_argument_group(f"for {', '.join(_PROGRAMS)} (docs/export.md)")
    group.add_argument(
        "--with_preprocessing", action="store_true", help="let the model begin with the image preprocessing"
    )
    group.add_argument("--labels", metavar="FILE", help="names of the classes or dimensions to store, one a line")
    group.add_argument("--int8", action="store_true", help="for .onnx: compute in 8 bits")
    group.add_argument(
        "--calibrate", metavar="DIR", help="with --int8: a folder of images, or inputs of the net in .npy or .h5"
    )
    add_state(part)
    add_inputs(part)


def run(args: Namespace) -> int:
    """Convert a file of weights to the format that the target's suffix selects."""
    source, target = Path(args.source), Path(args.target)
    _check_flags(args, target.suffix)
    target_format = format_of(target, FORMATS | _PROGRAMS)
    if not target.absolute().parent.is_dir():
        raise FileError("folder does not exist", code="file-missing", file=target.parent)
    preprocessing, note = _preprocessing(args, source), "\n"
    if not args.model:
        _convert_without_net(source, target, target_format)
    else:
        net = _load(args, source, losses=target.suffix in FORMATS)
        _warn(source, {name: [blob.numpy() for blob in blobs] for name, blobs in caffe_blobs(net).items()})
        if target.suffix in FORMATS:
            write_weights(net, target)
        else:
            net.meta["preprocessing"] = preprocessing
            note = _export(net, args, target_format)
    sys.stdout.write(f"{target}: {target_format}, {target.stat().st_size} bytes{note}")
    if preprocessing is not None and target.suffix in FORMATS:
        sys.stdout.write(f"{save_preprocessing(preprocessing, target)}: image preprocessing\n")
    return 0


def format_of(target: Path, formats: dict[str, str]) -> str:
    """Return the format that a file name's suffix selects among these."""
    if target.suffix not in formats:
        hint = f"use one of {', '.join(formats)}"
        raise FileError("unknown format", code="wrong-format", file=target, value=target.suffix, hint=hint)
    return formats[target.suffix]


def _check_flags(args: Namespace, suffix: str) -> None:
    if args.int8 and suffix != ".onnx":
        hint = "write a .onnx file"
        raise NetError("only ONNX models compute in 8 bits", code="conflict", field="--int8", hint=hint)
    if args.int8 and not args.calibrate:
        hint = "pass a folder of images such as the net will see"
        raise NetError("needs --calibrate", code="field-missing", field="--int8", hint=hint)
    if args.calibrate and not args.int8:
        raise NetError(
            "only --int8 calibrates", code="conflict", field="--calibrate", value=args.calibrate, hint="add --int8"
        )
    for flag in ("with_preprocessing", "labels"):
        if getattr(args, flag) and suffix in FORMATS:
            hint = f"write one of {', '.join(_PROGRAMS)}"
            raise NetError(f"{suffix} files have no place for it", code="conflict", field=f"--{flag}", hint=hint)


def _export(net: CaffeNet, args: Namespace, target_format: str) -> str:
    """Write a net for other programs; return what to print after the size of the file."""
    if args.labels:
        net.meta["labels"] = read_labels(args.labels)
    if not args.int8:
        export(net, args.target, target_format, with_preprocessing=args.with_preprocessing)
        return "\n"
    report = to_int8(net, args.target, args.calibrate, with_preprocessing=args.with_preprocessing)
    return f" (float32: {report.float_bytes})\n{report}"


def _preprocessing(args: Namespace, source: Path) -> Preprocessing | None:
    """Return the preprocessing named by ``--preprocess``, else the one saved next to the source."""
    if not args.preprocess:
        return load_preprocessing(source)
    if Path(args.preprocess).suffix == ".json":
        return read_preprocessing(args.preprocess)
    return preprocessing_of(args.preprocess)


def _convert_without_net(source: Path, target: Path, target_format: str) -> None:
    source_format = _format(source)
    if source_format is not _BINARY or target_format is not _HDF5:
        problem = f"converting {source_format} to {target_format} requires the net definition"
        raise WeightsError(problem, code="field-missing", file=source, field="--model", hint="pass --model=FILE")
    blobs = read_weights(source)
    _warn(source, blobs)
    write_weights_h5(target, blobs)


def _warn(source: Path, blobs: Blobs) -> None:
    """Warn about blobs with NaN or infinite values."""
    sys.stderr.writelines(f"caffe-compat: warning: {source}: {blob}\n" for blob in not_finite(blobs))


def _format(source: Path) -> str:
    require_file(source)
    if is_hdf5(source):
        return _HDF5
    with source.open("rb") as file:
        return _TORCH if file.read(4) == b"PK\x03\x04" else _BINARY


def _load(args: Namespace, source: Path, *, losses: bool) -> CaffeNet:
    """Build the net and fill every blob from the source."""
    net = load_net(
        args.model,
        losses=losses,
        stages=stages(args),
        level=args.level,
        input_shapes=dict(args.input) or None,
        fork=args.fork,
    )
    if _format(source) is _TORCH:
        _load_state_dict(net, source)
        return net
    report = copy_weights(net, source)
    for layer in report.ignored:
        sys.stderr.write(f"layer {layer!r} of {source} is not in the net: skipped\n")
    if report.left_at_filler:
        problem = f"no values for {', '.join(report.left_at_filler)}"
        raise WeightsError(problem, code="mismatch", file=source, hint="pass the definition these weights belong to")
    return net


def write_weights(net: CaffeNet, target: Path) -> None:
    """Write a net's weights in the format that the target's suffix selects."""
    target_format = FORMATS[target.suffix]
    if target_format is _TORCH:
        save_state_dict(net, target)
    else:
        save_weights(net, target, "HDF5" if target_format is _HDF5 else "BINARYPROTO")


def save_state_dict(net: CaffeNet, target: Path) -> None:
    """Write a net's state_dict for ``torch.load(weights_only=True)``, atomically and reproducibly."""
    state = {key: value.detach().cpu().contiguous().clone() for key, value in net.state_dict().items()}
    content = io.BytesIO()  # torch.save to a path stores the file's name, and aborts the process on a full disk
    torch.save(state, content)
    with atomic_path(target) as partial, partial.open("wb") as file:
        file.write(content.getbuffer())


def _load_state_dict(net: CaffeNet, source: Path) -> None:
    try:
        _require_stored(source)
        state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  (a damaged pickle may raise any)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileError(f"cannot be read as a state_dict: {reason}", code="damaged-file", file=source) from None
    net_state = net.state_dict()
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        hint = "write it with torch.save(net.state_dict(), ...)"
        raise FileError("not a state_dict of tensors", code="wrong-type", file=source, hint=hint)

    def problem(key: str, text: str, code: Code, hint: str | None = None) -> CaffeCompatError:
        return WeightsError(text, code=code, file=source, field=key, hint=hint)

    unusable = ((key, _unusable(value)) for key, value in state.items())
    raise_together([problem(key, f"{why}, expected plain real numbers", "wrong-type") for key, why in unusable if why])
    missing, unknown = net_state.keys() - state.keys(), state.keys() - net_state.keys()
    problems = [problem(key, "missing key", "field-missing", did_you_mean(key, unknown)) for key in missing]
    problems += [
        problem(key, "the net has no such key", "field-unknown", did_you_mean(key, net_state)) for key in unknown
    ]
    for key in net_state.keys() & state.keys():
        shape, expected = tuple(state[key].shape), tuple(net_state[key].shape)
        if shape != expected:
            problems.append(problem(key, f"tensor has shape {shape}, the net expects {expected}", "shape-mismatch"))
    raise_together(problems)
    net.load_state_dict(state)


def _require_stored(source: Path) -> None:
    """Refuse a compressed archive, which torch never writes: a small file could fill the memory."""
    with ZipFile(source) as archive:
        members = archive.infolist()
    size = sum(member.file_size for member in members)
    if size > source.stat().st_size or any(member.compress_type != ZIP_STORED for member in members):
        raise BadZipFile("its entries are compressed, or overlap")


def _unusable(value: torch.Tensor) -> str:
    """Return why a tensor cannot fill a blob, or an empty string."""
    if value.layout is not torch.strided:
        return f"tensor has layout {value.layout}"
    if value.is_meta:
        return "tensor has no values (device meta)"
    return f"tensor has dtype {value.dtype}" if value.is_complex() or value.is_quantized else ""
