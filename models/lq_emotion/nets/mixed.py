"""CNN+D on faces of several sizes at once, for Joint-OA at own sizes: a branch for each size, with shared weights.

A blob holds images of one size, so each factor of the mixture has its own data layers. The layers behind them share
their parameters by name, as in Caffe, and the predictions are concatenated before the loss. The layers of the first
branch have the names of CNN+D's, by which super-resolution weights are loaded and the net to apply finds its weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caffe_compat.errors import NetError
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import euclidean_loss
from lq_emotion.nets.cnn_d import BATCH, cnn_d
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import PaperSwitches

JOINED = ("valence", "gold")
"""The blobs with the predictions and the labels of all branches."""


def cnn_d_or_mixed(net: Net, switches: PaperSwitches, factors: Sequence[int]) -> pb.NetParameter:
    """Return CNN+D for faces of one factor, or `mixed` for faces of several."""
    if len(factors) > 1:
        return mixed(net, switches=switches, factors=factors)
    return cnn_d(net, switches=switches, factor=factors[0])


def mixed(
    net: Net,
    *,
    switches: PaperSwitches,
    factors: Sequence[int],
    batch: int = BATCH,
) -> pb.NetParameter:
    """Return the net to train, with a branch for each factor; `batch` counts the samples of all branches together.

    Faces that are not at their own size, a factor that does not divide 96, and fewer samples than branches are refused.
    """
    if switches.input_size != "own":
        problem = "faces of several sizes need input_size 'own'"
        raise NetError(problem, code="conflict", field="input_size", value=switches.input_size)
    message = pb.NetParameter(name="emotion_mixed")
    for factor, share in zip(factors, shares(batch, len(factors)), strict=True):
        branch = cnn_d(net, switches=switches, factor=factor, batch=share)
        message.layer.extend(_named(branch, "" if factor == factors[0] else f"_{factor}"))
    for blob, joined in zip(("fc5", "label"), JOINED, strict=True):
        bottoms = [blob, *(f"{blob}_{factor}" for factor in factors[1:])]
        layer = message.layer.add(name=joined, type="Concat", bottom=bottoms, top=[joined])
        layer.concat_param.axis = 0
    if switches.loss != "ccc":
        loss = euclidean_loss(JOINED[0], weight=2 if switches.loss == "mse" else None)
        loss.bottom[:] = JOINED
        message.layer.append(loss)
    return message


def shares(batch: int, branches: int) -> list[int]:
    """Divide a batch as evenly as possible, 128 by 3 as 43, 43, 42; refuse fewer samples than branches."""
    if batch < branches:
        problem = f"a batch needs one sample per size of faces ({branches})"
        raise NetError(problem, code="out-of-range", field="batch", value=batch)
    return [batch // branches + (number < batch % branches) for number in range(branches)]


def _named(branch: pb.NetParameter, suffix: str) -> Iterator[pb.LayerParameter]:
    """Yield the layers of a branch without the loss, with a suffix; parameters have the same name in all branches."""
    for layer in branch.layer:
        if layer.type == "EuclideanLoss":
            continue
        for number, param in enumerate(layer.param):
            param.name = f"{layer.name}_{'weight' if number == 0 else 'bias'}"
        layer.name += suffix
        layer.bottom[:] = [blob + suffix for blob in layer.bottom]
        layer.top[:] = [blob + suffix for blob in layer.top]
        yield layer
