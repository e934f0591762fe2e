"""``lq-emotion study rd``: recognition from coded video against QP and bits per pixel (Figure 4)."""

from __future__ import annotations

from lq_emotion.cli.study import study_command
from lq_emotion.common.document import Column, Table, number, row
from lq_emotion.common.plain_text import table_lines
from lq_emotion.studies.robust_lq.rate_distortion import SweepSettings
from lq_emotion.studies.robust_lq.rd_results import SweepResults


def _tables(results: SweepResults) -> str:
    columns = (Column("codec", number=False), *map(Column, ("s", "QP", "bpp", "VCL bpp", "PSNR")))
    columns += (Column("model", number=False), Column("CC"), Column("CCC"))
    rows = [
        row(
            point.codec, str(point.scale), "" if point.qp is None else str(point.qp), number(point.bpp, 4),
            number(point.vcl_bpp, 4), number(point.psnr, 2), point.model, number(point.score.cc, 4),
            number(point.score.ccc, 4),
        )
        for point in results.points
    ]  # fmt: skip
    rising = (f"bits do not fall with QP: {line}" for line in results.bits_rise_with_qp)
    return "\n".join([*table_lines(Table("", columns, tuple(rows))), *rising])


COMMAND = study_command(
    "robust_lq.rate_distortion:SWEEP",
    SweepSettings,
    _tables,
    ("rd.csv", "rd.json", "rd_x264.png", "rd_x265.png", "rate.png"),
    report=False,
)
