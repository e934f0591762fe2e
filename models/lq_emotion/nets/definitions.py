"""The nets of the study by name, and what switches and factors change in them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from caffe_compat.errors import DataError, NetError
from lq_emotion.nets.blocks import SIZE
from lq_emotion.nets.builder import NetBuilder
from lq_emotion.nets.names import Net
from lq_emotion.nets.switches import AS_CODE, PaperSwitches, changed_settings, data_parts


@cache
def builder(net: str) -> NetBuilder:
    """Return the builder of a net: ``BUILDER`` of the module named after the member of `Net`.

    Raises
    ------
    NetError
        The study has no such net.
    """
    if net not in list(Net):
        raise NetError("unknown net", code="name-unknown", field="net", value=net, hint=f"one of {', '.join(Net)}")
    net_builder: NetBuilder = import_module(f"lq_emotion.nets.{Net(net).name.lower()}").BUILDER
    return net_builder


def settings(net: str, switches: PaperSwitches, factors: Sequence[int] = (1,)) -> dict[str, Any]:
    """Return the settings of switches that the definitions of a net depend on, without those of the authors' code.

    Parameters
    ----------
    net : one of `Net`.
    switches : paper or code.
    factors : how many times smaller than 96 x 96 its faces are; several for a mixture of sizes.
    """
    own_size = {"input_size": "own"} if max(factors) > 1 else {}
    other = changed_settings(switches)
    return own_size | {name: value for name, value in other.items() if builder(net).is_changed_by(name, value)}


def parts(name: str, value: object) -> tuple[str, ...]:
    """Return what a setting of a switch changes: stages of the study, and the training of nets; () for the code's."""
    if value == getattr(AS_CODE, name):
        return ()
    return (*data_parts(name, value), *(f"train {net}" for net in Net if builder(net).is_changed_by(name, value)))


def factors_of(net: str, switches: PaperSwitches, sides: Sequence[int]) -> tuple[int, ...]:
    """Return how many times smaller than 96 x 96 the images of a training are.

    Parameters
    ----------
    net : one of `Net`.
    switches : paper or code.
    sides : rows and columns of the images of its files.

    Raises
    ------
    DataError
        The net takes no images of such a size.
    """
    if switches.input_size != "own" or not builder(net).own_size:
        return (1,)  # the net itself refuses any other size
    for side in sides:
        if side < 1 or SIZE % side:
            problem = f"images are {side} x {side}, {net} takes {SIZE} x {SIZE}"
            raise DataError(problem, code="shape-mismatch", hint=f"or {SIZE} divided by a whole number")
    return tuple(sorted({SIZE // side for side in sides}))
