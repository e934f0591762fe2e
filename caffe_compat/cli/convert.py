"""``convert``: convert weights between caffemodel, HDF5 and PyTorch."""

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
from caffe_compat.build.weights import Blobs, caffe_blobs, copy_weights, not_finite, save_weights
from caffe_compat.cli.detect import require_file
from caffe_compat.cli.flags import add_inputs
from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.errors import CaffeCompatError, FileError, WeightsError, did_you_mean, raise_together
from caffe_compat.formats.files import atomic_path, is_hdf5, read_binary, write_weights_h5
from caffe_compat.schema import caffe_pb2 as pb

_TORCH, _HDF5, _BINARY = "a PyTorch state_dict", "HDF5 weights", "a caffemodel"
FORMATS = {".pt": _TORCH, ".pth": _TORCH, ".h5": _HDF5, ".hdf5": _HDF5, ".caffemodel": _BINARY}
"""File name suffix -> format of the weights."""


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.set_defaults(run=convert)
    part.add_argument("source", help="caffemodel, HDF5 weights, or a PyTorch state_dict (.pt, .pth)")
    part.add_argument("target", help="file to write; its suffix selects the format: .caffemodel, .h5, .pt, .pth")
    part.add_argument(
        "--model",
        metavar="FILE",
        help="net definition (prototxt); required to read or write PyTorch files and to write a caffemodel",
    )
    part.add_argument(
        "--preprocess",
        metavar="FILE",
        help="image preprocessing to save beside the target: a .preprocess.json, or a net whose data layer defines it",
    )
    add_inputs(part)


def convert(args: Namespace) -> int:
    """Convert a file of weights to the format that the target's suffix selects."""
    source, target = Path(args.source), Path(args.target)
    target_format = FORMATS.get(target.suffix)
    if target_format is None:
        hint = f"use one of {', '.join(FORMATS)}"
        raise FileError("unknown weights format", code="wrong-format", file=target, value=target.suffix, hint=hint)
    if not target.absolute().parent.is_dir():
        raise FileError("folder does not exist", code="file-missing", file=target.parent)
    preprocessing = _preprocessing(args, source)
    if not args.model:
        _convert_without_net(source, target, target_format)
    else:
        net = _load(args, source)
        _warn(source, {name: [blob.numpy() for blob in blobs] for name, blobs in caffe_blobs(net).items()})
        write_weights(net, target)
    sys.stdout.write(f"{target}: {target_format}, {target.stat().st_size} bytes\n")
    if preprocessing is not None:
        sys.stdout.write(f"{save_preprocessing(preprocessing, target)}: image preprocessing\n")
    return 0


def _preprocessing(args: Namespace, source: Path) -> Preprocessing | None:
    """Return the preprocessing named by ``--preprocess``, else the one saved beside the source."""
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
    message, store = read_binary(source, pb.NetParameter)
    layers = upgrade_net(message).layer
    blobs = {layer.name: [store.data(blob) for blob in layer.blobs] for layer in layers}
    _warn(source, blobs)
    write_weights_h5(target, blobs)


def _warn(source: Path, blobs: Blobs) -> None:
    """Warn about blobs that hold NaN or infinite values."""
    sys.stderr.writelines(f"caffe-compat: warning: {source}: {blob}\n" for blob in not_finite(blobs))


def _format(source: Path) -> str:
    require_file(source)
    if is_hdf5(source):
        return _HDF5
    with source.open("rb") as file:
        return _TORCH if file.read(4) == b"PK\x03\x04" else _BINARY


def _load(args: Namespace, source: Path) -> CaffeNet:
    """Build the net and fill every blob from the source."""
    net = load_net(args.model, losses=True, input_shapes=dict(args.input) or None, fork=args.fork)
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
    unusable = [
        FileError(f"{problem}, expected plain real numbers", code="wrong-type", file=source, field=key)
        for key, value in state.items()
        if (problem := _unusable(value))
    ]
    raise_together(unusable)
    problems: list[CaffeCompatError] = [
        WeightsError(
            "missing key",
            code="field-missing",
            file=source,
            field=key,
            hint=did_you_mean(key, set(state) - set(net_state)),
        )
        for key in net_state.keys() - state.keys()
    ]
    problems += [
        WeightsError(
            "the net has no such key", code="field-unknown", file=source, field=key, hint=did_you_mean(key, net_state)
        )
        for key in state.keys() - net_state.keys()
    ]
    problems += [
        WeightsError(
            f"tensor has shape {tuple(state[key].shape)}, the net expects {tuple(net_state[key].shape)}",
            code="shape-mismatch",
            file=source,
            field=key,
        )
        for key in net_state.keys() & state.keys()
        if state[key].shape != net_state[key].shape
    ]
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
