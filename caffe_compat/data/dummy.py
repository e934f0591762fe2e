"""DummyData: tops filled by fillers, as in Caffe 1.0.

Facts from BVLC Caffe 9b89154, dummy_data_layer.cpp: one filler for all tops or one per top, by default the constant 0;
one shape for all tops or one per top, in `shape` or the four older fields; constant fillers fill once, other fillers
for each batch. Random numbers come from torch's global generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from caffe_compat.data.c_random import CRand
from caffe_compat.data.source import Cursor, DataSource, register
from caffe_compat.errors import CaffeCompatError, DataError, raise_together
from caffe_compat.layers.data import dummy_shapes
from caffe_compat.layers.fillers import check_filler, fill
from caffe_compat.schema import caffe_pb2 as pb


@register
class DummySource(DataSource):
    """Batches of a DummyData layer; Caffe fills the tops in `constant` once, so that a caller's changes persist."""

    type = "DummyData"

    def __init__(self, layer: pb.LayerParameter, *, base_dir: Path, rng: CRand) -> None:  # noqa: ARG002
        self.tops = tuple(layer.top)
        shapes, problems = dummy_shapes(layer)
        raise_together(
            [DataError(p, code="invalid", layer=layer.name, field=f"dummy_data_param.{name}") for name, p in problems]
        )
        self.shapes = dict(zip(self.tops, shapes, strict=True))
        given = list(layer.dummy_data_param.data_filler) or [pb.FillerParameter()]
        fillers = given * len(self.tops) if len(given) == 1 else given
        self._fillers = dict(zip(self.tops, fillers, strict=True))
        raise_together(list(self._filler_problems(layer.name)))
        self.constant = frozenset(top for top, filler in self._fillers.items() if filler.type == "constant")

    def _filler_problems(self, layer: str) -> Iterator[CaffeCompatError]:
        for top, filler in self._fillers.items():
            try:
                check_filler(filler, self.shapes[top])
            except CaffeCompatError as error:
                field = f"dummy_data_param.data_{error.field}"
                yield DataError(
                    error.problem, code=error.code, layer=layer, field=field, value=error.value, hint=error.hint
                )

    def next(self) -> dict[str, torch.Tensor]:
        """Return the next batch."""
        return {top: fill(torch.empty(self.shapes[top]), filler) for top, filler in self._fillers.items()}

    def reset(self) -> None:
        """Do nothing: the random numbers are torch's."""

    def cursor(self) -> Cursor:
        """Return an empty cursor."""
        return {}

    def fits(self, cursor: Cursor) -> bool:
        """Return whether the cursor is empty."""
        return not cursor

    def seek(self, cursor: Cursor) -> None:
        """Do nothing."""
