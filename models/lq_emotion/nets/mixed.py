"""CNN+D on faces of several sizes at once, for Joint-OA at own sizes: a branch for each, all of one set of weights.

A blob holds pictures of one size, so that each factor of the mixture has data layers of its own; the layers behind them
share their parameters by name, as Caffe lets them, and the valences are joined before the loss. The first branch's
layers have CNN+D's names: super-resolution weights come in, and the net to apply takes its weights out, by these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caffe_compat.errors import NetError
from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.blocks import euclidean_loss
from lq_emotion.nets.cnn_d import cnn_d
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import PaperSwitches

JOINED = ("valence", "gold")
"""Blobs of all branches' predictions and labels."""


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
    batch: int = 128,
) -> pb.NetParameter:
    """Return the net to train.

    Parameters
    ----------
    net : see `cnn_d`.
    switches : with faces at their own size.
    factors : of the faces, one for each branch.
    batch : samples a step, of all branches together.

    Raises
    ------
    NetError
        A factor that does not divide 96, fewer samples than branches, or faces that are not at their own size.
    """
    if switches.input_size != "own":
        raise NetError("a mixture of sizes", field="input_size", value=switches.input_size, hint='input_size="own"')
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
    """Divide a batch as evenly as it goes: 128 by 3 is 43, 43, 42.

    Raises
    ------
    NetError
        A branch would have nothing.
    """
    if batch < branches:
        raise NetError(f"leaves nothing for one of {branches} sizes", field="batch", value=batch, hint=f"{branches}")
    return [batch // branches + (number < batch % branches) for number in range(branches)]


def _named(branch: pb.NetParameter, suffix: str) -> Iterator[pb.LayerParameter]:
    """Yield a branch's layers without the loss, under names of its own; parameters have one name in all branches."""
    for layer in branch.layer:
        if layer.type == "EuclideanLoss":
            continue
        for number, param in enumerate(layer.param):
            param.name = f"{layer.name}_{'weight' if number == 0 else 'bias'}"
        layer.name += suffix
        layer.bottom[:] = [blob + suffix for blob in layer.bottom]
        layer.top[:] = [blob + suffix for blob in layer.top]
        yield layer
