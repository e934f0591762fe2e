"""What the study asks about a net: its definitions, its solver, and the switches that change them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from caffe_compat.schema import caffe_pb2 as pb
from lq_emotion.nets.switches import PaperSwitches

Shape = tuple[int, ...]


@dataclass(frozen=True)
class NetBuilder:
    """A net of the study. Each module named after a member of `names.Net` has one, ``BUILDER``.

    Attributes
    ----------
    train : switches and the factors of the faces -> the definition to train, with placeholders for its data files.
    deploy : switches and a factor -> the definition to apply.
    solver : switches -> the solver, with placeholders for its paths.
    sample_shapes : switches and a factor -> the shapes of one sample's data and label.
    switches : names of the switches that change the definition or the solver.
    shipped : the authors' prototxts of net and solver, by their names among :func:`lq_emotion.prototxt.available`.
    snapshot_name : what the names of snapshots begin with.
    starts_from_sr : it is trained from super-resolution weights.
    own_size : it takes faces at their own size where `PaperSwitches.input_size` is "own".
    predicts_valence : its output is a valence, not an image.
    """

    train: Callable[[PaperSwitches, Sequence[int]], pb.NetParameter]
    deploy: Callable[[PaperSwitches, int], pb.NetParameter]
    solver: Callable[[PaperSwitches], pb.SolverParameter]
    sample_shapes: Callable[[PaperSwitches, int], tuple[Shape, Shape]]
    switches: frozenset[str]
    shipped: tuple[str, str] | None = None
    snapshot_name: str = "emotion"
    starts_from_sr: bool = False
    own_size: bool = False
    predicts_valence: bool = True

    def is_changed_by(self, switch: str, value: object) -> bool:
        """Return whether a setting other than the code's changes the definition or the solver."""
        return switch in self.switches and (switch, value) != ("normalisation", "file")  # that is done to the data
