"""``convert``: weights from one format to another."""

from __future__ import annotations

import io
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch

from caffe_compat.build.load_report import Blobs, not_finite
from caffe_compat.build.net import CaffeNet, load_net
from caffe_compat.build.preprocess import Preprocessing, preprocessing_of
from caffe_compat.build.sidecar import load_preprocessing, read_preprocessing, save_preprocessing
from caffe_compat.build.weights import caffe_blobs, copy_weights, save_weights
from caffe_compat.cli.flags import add_inputs
from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.errors import CaffeCompatError, FileError, WeightsError, did_you_mean, raise_together
from caffe_compat.formats.files import atomic_path, is_hdf5, read_binary, write_weights_h5
from caffe_compat.schema import caffe_pb2 as pb

_TORCH, _HDF5, _BINARY = "a PyTorch state_dict", "HDF5 weights", "a caffemodel"
FORMATS = {".pt": _TORCH, ".pth": _TORCH, ".h5": _HDF5, ".hdf5": _HDF5, ".caffemodel": _BINARY}
"""Suffix of a file of weights -> what it is."""


def define(part: ArgumentParser) -> None:
    """Add the flags."""
    part.set_defaults(run=convert)
    part.add_argument("source", help="caffemodel, HDF5 weights, or a PyTorch state_dict (.pt, .pth)")
    part.add_argument("target", help="file to write; its name says the format: .caffemodel, .h5, .pt, .pth")
    part.add_argument(
        "--model", metavar="FILE", help="the net (prototxt); needed for PyTorch files and to make a caffemodel"
    )
    part.add_argument(
        "--preprocess",
        metavar="FILE",
        help="what is done to pictures: a .preprocess.json, or a net whose data layer does it; kept beside the target",
    )
    add_inputs(part)


def convert(args: Namespace) -> int:
    """Convert a file of weights; the target's name says the format."""
    source, target = Path(args.source), Path(args.target)
    wanted = FORMATS.get(target.suffix)
    if wanted is None:
        raise FileError("its name does not say the format", file=target, hint=f"one of {', '.join(FORMATS)}")
    if not target.absolute().parent.is_dir():
        raise FileError("there is no such folder", file=target)
    prepared = _preprocessing(args, source)
    if not args.model:
        _without_net(source, target, wanted)
    else:
        net = _filled(args, source)
        _warn(source, {name: [blob.numpy() for blob in blobs] for name, blobs in caffe_blobs(net).items()})
        write_weights(net, target)
    sys.stdout.write(f"{target}: {wanted}, {target.stat().st_size} bytes\n")
    if prepared is not None:
        sys.stdout.write(f"{save_preprocessing(prepared, target)}: how pictures are prepared\n")
    return 0


def _preprocessing(args: Namespace, source: Path) -> Preprocessing | None:
    """Return what the flag names, else what lies beside the source."""
    if not args.preprocess:
        return load_preprocessing(source)
    if Path(args.preprocess).suffix == ".json":
        return read_preprocessing(args.preprocess)
    return preprocessing_of(args.preprocess)


def _without_net(source: Path, target: Path, wanted: str) -> None:
    found = _format(source)
    if found is not _BINARY or wanted is not _HDF5:
        raise WeightsError(f"to make {wanted} of {found} the net must be known", file=source, hint="give --model=FILE")
    message, store = read_binary(source, pb.NetParameter)
    layers = upgrade_net(message).layer
    blobs = {layer.name: [store.data(blob) for blob in layer.blobs] for layer in layers}
    _warn(source, blobs)
    write_weights_h5(target, blobs)


def _warn(source: Path, blobs: Blobs) -> None:
    """Say which blobs hold NaN or infinite values."""
    sys.stderr.writelines(f"caffe-compat: warning: {source}: {blob}\n" for blob in not_finite(blobs))


def _format(source: Path) -> str:
    if not source.is_file():
        raise FileError("no such file", file=source)
    if is_hdf5(source):
        return _HDF5
    with source.open("rb") as file:
        return _TORCH if file.read(4) == b"PK\x03\x04" else _BINARY


def _filled(args: Namespace, source: Path) -> CaffeNet:
    """Return the net with every blob from the source."""
    found = _format(source)
    net = load_net(args.model, losses=True, input_shapes=dict(args.input) or None, fork=args.fork)
    if found is _TORCH:
        _load_state_dict(net, source)
        return net
    report = copy_weights(net, source)
    for layer in report.ignored:
        sys.stderr.write(f"layer {layer!r} of {source} is not in the net: left out\n")
    if report.left_at_filler:
        raise WeightsError(f"has no values for {', '.join(report.left_at_filler)}", file=source, hint="another net?")
    return net


def write_weights(net: CaffeNet, target: Path) -> None:
    """Write a net's weights in the format that the file's name says."""
    wanted = FORMATS[target.suffix]
    if wanted is _TORCH:
        save_state_dict(net, target)
    else:
        save_weights(net, target, "HDF5" if wanted is _HDF5 else "BINARYPROTO")


def save_state_dict(net: CaffeNet, target: Path) -> None:
    """Write a net's state_dict for ``torch.load(weights_only=True)``, complete or not at all, in the same bytes."""
    state = {key: value.detach().cpu().contiguous().clone() for key, value in net.state_dict().items()}
    content = io.BytesIO()  # torch puts the name of a file into it, and a full disk ends it
    torch.save(state, content)
    with atomic_path(target) as partial, partial.open("wb") as file:
        file.write(content.getbuffer())


def _load_state_dict(net: CaffeNet, source: Path) -> None:
    try:
        _require_stored(source)
        state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  (a damaged pickle may raise any)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileError(f"cannot be read as a state_dict: {reason}", file=source) from None
    own = net.state_dict()
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise FileError("is not a state_dict of tensors", file=source, hint="torch.save(net.state_dict(), ...)")
    strange = [
        FileError(f"holds {problem}; plain real numbers are expected", file=source, field=key)
        for key, value in state.items()
        if (problem := _strange(value))
    ]
    raise_together(strange)
    problems: list[CaffeCompatError] = [
        WeightsError("missing", file=source, field=key, hint=did_you_mean(key, set(state) - set(own)))
        for key in own.keys() - state.keys()
    ]
    problems += [
        WeightsError("the net has no such key", file=source, field=key, hint=did_you_mean(key, own))
        for key in state.keys() - own.keys()
    ]
    problems += [
        WeightsError(f"shape {tuple(state[key].shape)}, the net's is {tuple(own[key].shape)}", file=source, field=key)
        for key in own.keys() & state.keys()
        if state[key].shape != own[key].shape
    ]
    raise_together(problems)
    net.load_state_dict(state)


def _require_stored(source: Path) -> None:
    """Refuse an archive that is deflated, as torch never writes it: a small file could fill the memory."""
    with ZipFile(source) as archive:
        members = archive.infolist()
    size = sum(member.file_size for member in members)
    if size > source.stat().st_size or any(member.compress_type != ZIP_STORED for member in members):
        raise BadZipFile("its entries are deflated, or overlap")


def _strange(value: torch.Tensor) -> str:
    """Tell why a tensor's values cannot be a blob's; empty where they can."""
    if value.layout is not torch.strided:
        return f"a tensor of layout {value.layout}"
    if value.is_meta:
        return "a tensor without values (device meta)"
    return f"values of type {value.dtype}" if value.is_complex() or value.is_quantized else ""
