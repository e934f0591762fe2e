"""A net for inference: what only training needs is taken out."""

from __future__ import annotations

from caffe_compat.layers import Layer, candidates
from caffe_compat.schema import caffe_pb2 as pb


def inference_net(net: pb.NetParameter) -> pb.NetParameter:
    """Return a filtered, upgraded net with what only training needs taken out.

    Losses, Accuracy and Silence leave, and with them the layers that feed nothing else (the labels' side);
    data layers become Input layers with the tops still wanted. What the losses compared becomes the output.
    """
    learned = _learned_blobs(net)
    wanted: set[str] = set()
    left: set[str] = set()  # what no layer takes after it was last made
    for layer in net.layer:
        left -= set(layer.bottom)
        if not _trains_only(layer):
            left |= set(layer.top)
        elif layer.type != "Silence":
            wanted |= {blob for blob in layer.bottom if blob in learned} or set(layer.bottom[:1])
    wanted |= left
    kept: list[pb.LayerParameter] = []
    for layer in reversed(net.layer):
        if _trains_only(layer) or not wanted & set(layer.top):
            continue
        wanted |= set(layer.bottom)
        kept.append(_fed(layer, wanted))
    out = pb.NetParameter()
    out.CopyFrom(net)
    out.ClearField("layer")
    out.layer.extend(reversed(kept))
    return out


def _trains_only(layer: pb.LayerParameter) -> bool:
    return any(not known.inference for known in candidates(layer.type))


def _learned_blobs(net: pb.NetParameter) -> set[str]:
    """Return the blobs that some layer with parameters has had a part in."""
    learned: set[str] = set()
    for layer in net.layer:
        learns = any(type(known).blobs is not Layer.blobs for known in candidates(layer.type))
        if learned & set(layer.bottom) or learns:
            learned |= set(layer.top)
    return learned


def _fed(layer: pb.LayerParameter, wanted: set[str]) -> pb.LayerParameter:
    """Return a data layer as an Input layer of its wanted tops, any other layer as it is."""
    if not any(known.is_data for known in candidates(layer.type)):
        return layer
    out = pb.LayerParameter(name=layer.name, type="Input", top=[top for top in layer.top if top in wanted])
    if layer.type == "Input":
        shapes = list(layer.input_param.shape)
        keep = [i for i, top in enumerate(layer.top) if top in wanted]
        out.input_param.shape.extend(shapes if len(shapes) == 1 else [shapes[i] for i in keep if i < len(shapes)])
    return out
