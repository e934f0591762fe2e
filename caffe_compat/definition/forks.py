"""Forks of Caffe: the fields each adds to the messages, and which fork a file was written for.

In text a field's name decides; in binary files its number does, and numbers clash, between forks and with Caffe 1.0's
own. So the caller names the fork (:func:`caffe_compat.definition.prepare.prepare`), or it follows from the layer's type
and fields (:mod:`caffe_compat.layers.resolve`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError, Message

from caffe_compat.errors import CaffeCompatError, NetError, ParseError, did_you_mean
from caffe_compat.formats.extras import (
    add_unknown_field,
    all_unknown_fields,
    copied,
    take_unknown,
    unknown_fields,
    walk,
    where,
)
from caffe_compat.formats.text import format_text, parse_text
from caffe_compat.schema import forks_pb2 as fb
from caffe_compat.schema.caffe_pb2 import LayerParameter, NetParameter

Schema = Mapping[str, type[Message]]
"""Name of a message of Caffe -> a message with the additions to it."""

_BINARY = "<binary>"


@dataclass(frozen=True)
class ForkSchema:
    """One fork of Caffe: its repository or pull request, and by message of Caffe a message with the fields it adds."""

    source: str
    additions: Schema = field(default_factory=dict)


_LABEL_MAPS: Schema = {"ImageDataParameter": fb.SegImageData, "TransformationParameter": fb.SegTransformation}

FORKS: Mapping[str, ForkSchema] = {
    "caffe-face": ForkSchema("ydwen/caffe-face", {"LayerParameter": fb.CaffeFaceLayer}),
    "crnn": ForkSchema("yalecyu/crnn.caffe", {"LayerParameter": fb.CRNNLayer}),
    "deeplab": ForkSchema("DeepLab v2", {"LayerParameter": fb.DeepLabLayer, **_LABEL_MAPS}),
    "depthwise": ForkSchema("yonghenglh6/DepthwiseConvolution"),
    "fast-rcnn": ForkSchema(
        "rbgirshick/caffe-fast-rcnn", {"LayerParameter": fb.FastRCNNLayer, "DropoutParameter": fb.FastRCNNDropout}
    ),
    "happynear": ForkSchema("happynear/caffe-windows", {"LayerParameter": fb.HappynearLayer}),
    "mobilenet": ForkSchema("conv_dw_layer and relu6_layer for MobileNet", {"LayerParameter": fb.MobileNetV2Layer}),
    "pr3057": ForkSchema("pull request 3057 to BVLC/caffe", {"PoolingParameter": fb.CeilModePooling}),
    "pspnet": ForkSchema("hszhao/PSPNet", {"LayerParameter": fb.PSPNetLayer, **_LABEL_MAPS}),
    "py-rfcn": ForkSchema("aeolusguan/caffe", {"LayerParameter": fb.RFCNLayer, "LossParameter": fb.RFCNLoss}),
    "rfcn": ForkSchema("daijifeng001/caffe-rfcn", {"LayerParameter": fb.RFCNLayer, "LossParameter": fb.RFCNLoss}),
    "rtpose": ForkSchema("CMU-Perceptual-Computing-Lab/caffe_rtpose", {"LayerParameter": fb.RTPoseLayer}),
    "segnet": ForkSchema(
        "alexgkendall/caffe-segnet",
        {"LayerParameter": fb.SegNetLayer, "DropoutParameter": fb.SegNetDropout, "LossParameter": fb.SegNetLoss},
    ),
    "senet": ForkSchema("hujie-frank/SENet"),
    "shufflenet": ForkSchema("farmingyard/ShuffleNet", {"LayerParameter": fb.ShuffleNetLayer}),
    "sphereface": ForkSchema("wy1iu/sphereface", {"LayerParameter": fb.SphereFaceLayer}),
    "ssd": ForkSchema(
        "weiliu89/caffe, branch ssd",
        {"LayerParameter": fb.SSDLayer, "TransformationParameter": fb.SSDTransformation},
    ),
    "yjxiong": ForkSchema("yjxiong/caffe", {"LayerParameter": fb.YjxiongLayer}),
    "yolov3": ForkSchema("eric612/MobileNet-YOLO", {"LayerParameter": fb.YOLOv3Layer}),
}
"""Every supported fork by its name."""


def fork_names(fork: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of one fork, of several, or of none, each once; refuse those that are not supported."""
    names = () if fork is None else (fork,) if isinstance(fork, str) else fork
    for name in names:
        if name not in FORKS:
            hint = did_you_mean(name, FORKS) or f"use one of {', '.join(FORKS)}"
            raise NetError("unknown fork of Caffe", code="name-unknown", field="fork", value=name, hint=hint)
    return tuple(dict.fromkeys(names))


def name_numbered_fields(net: NetParameter, forks: Sequence[str]) -> NetParameter:
    """Return the net with the fields that a binary file has by the forks' numbers under their names."""
    if not forks:
        return net
    out = copied(net)
    for fork in forks:
        for layer in out.layer:
            _name_numbers(layer, fork)
    return out


def forks_with(path: str, name: str) -> list[str]:
    """Return the forks that have a field, given by name or number, in the message `path` names within a layer."""
    owner = message_name(path)
    return [
        fork
        for fork, schema in FORKS.items()
        for added in [schema.additions.get(owner)]
        if added and any(name in (f.name, str(f.number)) for f in added.DESCRIPTOR.fields)
    ]


def read_additions(param: LayerParameter, schema: Schema) -> tuple[dict[str, Message], list[CaffeCompatError]]:
    """Return the fields of a fork in a layer by the path of their message ("" is the layer's), and the problems."""
    additions: dict[str, Message] = {}
    problems: list[CaffeCompatError] = []
    for path, part in walk(param):
        unknown = unknown_fields(part)
        if not unknown:
            continue
        added = schema.get(part.DESCRIPTOR.name)
        fields = added.DESCRIPTOR.fields_by_name if added else {}
        own = [s for s in unknown if s.field in fields]
        problems += [s.error(NetError, layer=param.name) for s in unknown if s not in own]
        if added is None or not own:
            continue
        try:
            message = parse_text("\n".join(s.text for s in own), added)
        except ParseError as error:
            problems.append(_placed(error, param, own[0].file, own[0].line))
            continue
        problems += [
            _placed(inner.error(ParseError), param, own[0].file, own[0].line, inside)
            for inside, inner in all_unknown_fields(message)
        ]
        additions[path] = message
    return additions, problems


def _placed(
    error: CaffeCompatError, param: LayerParameter, file: str | None, line: int | None, inside: str = ""
) -> CaffeCompatError:
    """Return an error in the text of a fork's field with the place of the field."""
    at = f"{inside}.{error.field}" if inside else error.field
    hint = None if error.hint == "it belongs to a fork of Caffe" else error.hint
    problem = error.problem.removeprefix("Caffe 1.0 has ")
    return NetError(problem, code=error.code, file=file, line=line, layer=param.name, field=at, hint=hint)


def clash(param: LayerParameter, schema: Schema, expected: Sequence[str]) -> str | None:
    """Return the field of Caffe 1.0 that a binary file's number was read as, where the fork's field has that number."""
    added = schema.get("LayerParameter")
    if added is None or where(param) is not None:  # in text the name decided
        return None
    for number, theirs in added.DESCRIPTOR.fields_by_number.items():
        ours = LayerParameter.DESCRIPTOR.fields_by_number.get(number)
        if ours is not None and theirs.name in expected and param.HasField(ours.name):
            return str(ours.name)
    return None


def _name_numbers(layer: LayerParameter, fork: str) -> None:
    """Replace fields that a binary file has by number with the fork's fields by name."""
    if where(layer) is not None:
        return
    for path, part in list(walk(layer)):
        added = FORKS[fork].additions.get(part.DESCRIPTOR.name)
        if added is None:
            continue
        numbers = set(added.DESCRIPTOR.fields_by_number)
        content = take_unknown(part, numbers)
        for number in numbers:
            field = part.DESCRIPTOR.fields_by_number.get(number)
            if field is not None and part.HasField(field.name) and not (path == "" and layer.type == "Input"):
                single = type(part)()
                if field.message_type is None:
                    setattr(single, field.name, getattr(part, field.name))
                else:
                    getattr(single, field.name).CopyFrom(getattr(part, field.name))
                content += single.SerializeToString()
                part.ClearField(field.name)
        if content:
            _keep_by_name(part, added, content, layer.name, fork)


def _keep_by_name(part: Message, added: type[Message], content: bytes, layer: str, fork: str) -> None:
    try:
        message = added.FromString(content)
    except DecodeError:
        problem = f"an unknown field is none of the fork {fork}'s"
        raise NetError(problem, code="field-unknown", layer=layer, hint="name another fork") from None
    for described, value in message.ListFields():
        single = added()
        if described.message_type is None:
            single.MergeFrom(message)
            for other in added.DESCRIPTOR.fields:
                if other.name != described.name:
                    single.ClearField(other.name)
        else:
            getattr(single, described.name).CopyFrom(value)
        add_unknown_field(part, _BINARY, 0, 0, described.name, format_text(single).rstrip("\n"))


def message_name(path: str) -> str:
    """Return the name of the message at a path within a layer."""
    if not path:
        return "LayerParameter"
    described = LayerParameter.DESCRIPTOR.fields_by_name.get(path)
    return described.message_type.name if described is not None and described.message_type is not None else ""
