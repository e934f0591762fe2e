"""Figures 1 to 3 in the paper's form."""

from __future__ import annotations

from collections.abc import Iterator

from lq_emotion.common.document import Block, Figure, read_png
from lq_emotion.report.parts import Absent
from lq_emotion.studies.robust_lq.store import Store

_CAPTIONS = {
    1: "**Figure 1.** A face at full resolution and at every factor: enlarged again, and the pixels that are left.",
    2: "**Figure 2.** The pipeline, with what each step makes of a frame.",
    3: "**Figure 3.** The nets: SR-FCN, and the CNN that takes over its first three layers.",
}


def paper_figures(store: Store) -> Iterator[Block]:
    """Yield the figures that were drawn."""
    pngs = {number: read_png(store.root / "study" / f"figure{number}.png") for number in _CAPTIONS}
    if not any(pngs.values()):
        raise Absent("No Figures 1 to 3: `lq-emotion study run robust-lq` draws them.")
    for number, png in pngs.items():
        if png is not None:
            yield Figure(f"figure_{number}", png, _CAPTIONS[number], f"Figure {number} of the paper, drawn anew")
