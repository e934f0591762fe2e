"""Prepare a definition once: read, upgraded, filtered, its forks named.

Graph, module, solver, pycaffe and the tools all start from the :class:`PreparedNet` that :func:`prepare` returns.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caffe_compat.definition.filtering import filter_net, net_state, rule_lines
from caffe_compat.definition.forks import fork_names, name_numbered_fields
from caffe_compat.definition.upgrade import upgrade_net
from caffe_compat.formats.extras import copied
from caffe_compat.formats.files import read_net
from caffe_compat.schema import caffe_pb2 as pb

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class PreparedNet:
    """A definition in its current form, in one state.

    Attributes
    ----------
    message : upgraded and filtered, with the state written into it. Each layer carries the place it was read from
        (:func:`caffe_compat.formats.extras.where`), which errors name.
    forks : the forks of Caffe the net was written for, as far as the caller named them.
    base_dir : folder of the definition; data is looked for there after the working directory.
    rules : what Caffe logs of the rules that leave layers out: place in its source, and text.
    """

    message: pb.NetParameter
    forks: tuple[str, ...] = ()
    base_dir: Path = Path()
    rules: tuple[tuple[str, str], ...] = ()

    @property
    def state(self) -> pb.NetState:
        """Phase, level and stages."""
        return self.message.state

    @property
    def phase(self) -> str:
        """The phase's name, "TRAIN" or "TEST"."""
        return pb.Phase.Name(self.state.phase)


def prepare(
    net: PathLike | pb.NetParameter,
    state: pb.NetState | None = None,
    *,
    fork: str | Sequence[str] | None = None,
    base_dir: PathLike | None = None,
) -> PreparedNet:
    """Return a definition of any age (its path, or the message, which is not changed), ready to be built.

    `state` is that of :func:`caffe_compat.definition.filtering.net_state`, TEST by default. Stages in the net's own
    ``state`` are added, its phase and level are not used (source: Caffe's net.cpp, Net::Net). `fork` names the fork of
    Caffe the net was written for (or several), where its layers do not tell. Data is looked for in `base_dir`, by
    default the folder of the file, or the working directory.
    """
    message = net if isinstance(net, pb.NetParameter) else read_net(net)
    if base_dir is None:
        base_dir = Path() if isinstance(net, pb.NetParameter) else Path(net).parent
    merged = copied(state or net_state())
    merged.stage[:] = dict.fromkeys([*message.state.stage, *merged.stage])
    forks = fork_names(fork)
    upgraded = upgrade_net(name_numbered_fields(message, forks))
    return PreparedNet(filter_net(upgraded, merged), forks, Path(base_dir), tuple(rule_lines(upgraded, merged)))
