"""Split layers where Caffe inserts them. Source: BVLC Caffe 9b89154, insert_splits.cpp."""

from __future__ import annotations

from collections import Counter

from caffe_compat.formats.extras import copied
from caffe_compat.schema import caffe_pb2 as pb


def insert_splits(net: pb.NetParameter) -> pb.NetParameter:
    """Return the net with a Split layer behind every top that several layers (or a layer and the loss) take.

    The names are Caffe's: layer ``<blob>_<layer>_<i>_split``, tops ``..._split_0`` and so on.
    """
    source: dict[str, tuple[int, int]] = {}
    readers: Counter[tuple[int, int]] = Counter()
    bottoms: dict[tuple[int, int], tuple[int, int]] = {}
    weights: dict[tuple[int, int], float] = {}
    for i, layer in enumerate(net.layer):
        for j, blob in enumerate(layer.bottom):
            if blob in source:
                bottoms[i, j] = source[blob]
                readers[source[blob]] += 1
        for j, blob in enumerate(layer.top):
            source[blob] = (i, j)
        for j, weight in enumerate(layer.loss_weight[: len(layer.top)]):
            if weight:
                weights[i, j] = weight
                readers[i, j] += 1
    out = copied(net)
    out.ClearField("layer")
    used: Counter[tuple[int, int]] = Counter()
    for i, layer in enumerate(net.layer):
        copy = out.layer.add()
        copy.CopyFrom(layer)
        for j, blob in enumerate(layer.bottom):
            top = bottoms.get((i, j))
            if top is not None and readers[top] > 1:
                copy.bottom[j] = f"{blob}_{net.layer[top[0]].name}_{top[1]}_split_{used[top]}"
                used[top] += 1
        for j, blob in enumerate(layer.top):
            if readers[i, j] > 1:
                name = f"{blob}_{layer.name}_{j}_split"
                split = out.layer.add(name=name, type="Split", bottom=[blob])
                split.top.extend(f"{name}_{k}" for k in range(readers[i, j]))
                if (i, j) in weights:
                    copy.ClearField("loss_weight")
                    split.loss_weight.extend([weights[i, j], *[0.0] * (readers[i, j] - 1)])
                    used[i, j] += 1
    return out
