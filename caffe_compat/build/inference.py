"""Reduce a net to inference: remove the layers that only training needs."""

from __future__ import annotations

from caffe_compat.formats.extras import copied
from caffe_compat.layers import Layer, LayerSpec, Source, candidates, facts
from caffe_compat.schema import caffe_pb2 as pb


def inference_net(net: pb.NetParameter) -> pb.NetParameter:
    """Return a prepared net without the layers that only training needs.

    Losses, Accuracy and Silence are removed, and with them the layers that feed nothing else (the labels' side);
    data layers become Input layers with the tops still needed. The predictions that the losses compared become outputs.
    """
    learned = _learned_blobs(net)
    needed: set[str] = set()
    unread: set[str] = set()  # blobs that no later layer takes
    for layer in net.layer:
        unread -= set(layer.bottom)
        if not _trains_only(layer):
            unread |= set(layer.top)
        elif any(candidate.tops.high != 0 or candidate.has_effect for candidate in candidates(layer.type)):
            needed |= {blob for blob in layer.bottom if blob in learned} or set(layer.bottom[:1])
    needed |= unread
    layers: list[pb.LayerParameter] = []
    for layer in reversed(net.layer):
        if _trains_only(layer) or not needed & set(layer.top):
            continue
        needed |= set(layer.bottom)
        layers.append(_fed(layer, needed))
    out = copied(net)
    out.ClearField("layer")
    out.layer.extend(reversed(layers))
    return out


def _trains_only(layer: pb.LayerParameter) -> bool:
    return any(not candidate.inference for candidate in candidates(layer.type))


def _learned_blobs(net: pb.NetParameter) -> set[str]:
    """Return the blobs that depend on a layer with parameters."""
    learned: set[str] = set()
    for layer in net.layer:
        learns = any(type(candidate).blobs is not Layer.blobs for candidate in candidates(layer.type))
        if learned & set(layer.bottom) or learns:
            learned |= set(layer.top)
    return learned


def _fed(layer: pb.LayerParameter, needed: set[str]) -> pb.LayerParameter:
    """Return a data layer as an Input layer of its needed tops, any other layer unchanged."""
    if not any(candidate.is_data for candidate in candidates(layer.type)):
        return layer
    out = pb.LayerParameter(name=layer.name, type="Input", top=[top for top in layer.top if top in needed])
    if facts(layer.type).source is Source.CALLER:
        shapes = facts(layer.type).top_shapes(LayerSpec(layer, ()))
        for top, shape in zip(layer.top, shapes, strict=False):
            if top in needed:
                out.input_param.shape.add(dim=shape)
    return out
