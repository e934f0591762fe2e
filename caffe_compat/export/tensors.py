"""``safetensors``: the weights under the keys of the state_dict, with the definition; and back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from caffe_compat.build.net import CaffeNet, build_net, fill_net
from caffe_compat.build.preprocess import parse_preprocessing
from caffe_compat.build.weights import place
from caffe_compat.definition.prepare import prepare
from caffe_compat.errors import CaffeCompatError, FileError, NetError, WeightsError, raise_together
from caffe_compat.export.portable import forks_of, metadata, packages, parse_labels, require_inference
from caffe_compat.formats.files import atomic_path, parse_text, read_bytes
from caffe_compat.graph.graph import build_graph
from caffe_compat.schema import caffe_pb2 as pb


def to_safetensors(net: CaffeNet, file: str | os.PathLike[str], *, with_preprocessing: bool = False) -> None:
    """Write a net's values as safetensors, in float32 and under the keys of its state_dict.

    The metadata has ``definition.prototxt``, ``forks`` and, where the net has them, ``preprocessing.json`` and
    ``labels.txt``: :func:`load_safetensors` makes the net again.
    """
    require_inference(net)
    if with_preprocessing:
        hint = "the preprocessing is in the metadata in any case; or export to pt2, onnx or python"
        problem = "a safetensors file has values, no operations"
        raise NetError(problem, code="unsupported", field="with_preprocessing", value=True, hint=hint)
    content = packed(net.state_dict(), texts_of(net))
    with atomic_path(file) as partial:
        partial.write_bytes(content)


def texts_of(net: CaffeNet) -> dict[str, str]:
    """Return the metadata from which :func:`load_safetensors` makes a net again."""
    return metadata(net) | {"forks": " ".join(forks_of(net.caffe))}


def packed(state: Mapping[str, torch.Tensor], texts: Mapping[str, str]) -> bytes:
    """Return a file of tensors and texts, its header in order: safetensors writes the texts in any."""
    values = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    content: bytes = _package().save(values, dict(texts))
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def load_safetensors(file: str | os.PathLike[str]) -> CaffeNet:
    """Make a net again from a file that :func:`to_safetensors` wrote, bit for bit.

    Tensors that the net does not have are left out.

    Raises
    ------
    FileError, WeightsError
        The file is damaged, or was not written by :func:`to_safetensors`.
    """
    texts, values = _unpacked(Path(file))
    if "definition.prototxt" not in texts:
        hint = "only .safetensors files that `caffe-compat convert` wrote can be loaded without a definition"
        raise FileError("its metadata has no definition", code="wrong-format", file=file, hint=hint)
    message = parse_text(texts["definition.prototxt"], pb.NetParameter, file=str(file))
    prepared = prepare(message, fork=texts.get("forks", "").split() or None)
    net = build_net(build_graph(prepared), empty=True)
    problems: list[CaffeCompatError] = []
    for slot in net.caffe.slots:
        shape = slot.stored.to_torch(torch.empty(slot.blob.shape, device="meta")).shape
        value = values.get(slot.key)
        if value is None or value.shape != shape:
            problem = "is missing" if value is None else f"has shape {tuple(value.shape)}"
            hint = f"the definition expects {tuple(shape)}"
            problems.append(WeightsError(problem, code="mismatch", file=file, field=slot.key, hint=hint))
        elif slot.owner is None:
            place(net, slot, slot.stored.to_caffe(value.float()))
    raise_together(problems)
    fill_net(net)
    text = texts.get("preprocessing.json")
    net.meta["preprocessing"] = None if text is None else parse_preprocessing(text, Path(file))
    net.meta["labels"] = parse_labels(texts["labels.txt"]) if "labels.txt" in texts else ()
    return net


def _unpacked(file: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Return the texts and the tensors of a file."""
    package, content = _package(), read_bytes(file)
    try:
        values: dict[str, torch.Tensor] = package.load(content)
        end = 8 + int.from_bytes(content[:8], "little")
        return json.loads(content[8:end]).get("__metadata__", {}), values
    except Exception as error:  # noqa: BLE001  (SafetensorError is the package's own, without a base of Python's)
        raise FileError(f"is not a safetensors file: {error}", code="damaged-file", file=file) from None


def _package() -> Any:
    return packages("export", "safetensors.torch")[0]
