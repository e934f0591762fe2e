"""``lq-emotion study rd``: recognition from coded video against QP and bits per pixel (Figure 4)."""

from __future__ import annotations

from lq_emotion.cli.study import study_command
from lq_emotion.studies.robust_lq.rate_distortion import SweepSettings
from lq_emotion.studies.robust_lq.rd_results import SweepResults


def _tables(results: SweepResults) -> str:
    lines = [f"{'codec':6} {'s':>2} {'QP':>3} {'bpp':>7} {'VCL bpp':>7} {'PSNR':>6}  {'model':12} {'CC':>7} {'CCC':>7}"]
    for point in results.points:
        rate = (_text(point.bpp, "7.4f"), _text(point.vcl_bpp, "7.4f"), _text(point.psnr, "6.2f"))
        scores = (_text(point.score.cc, "7.4f"), _text(point.score.ccc, "7.4f"))
        qp = "" if point.qp is None else point.qp
        head = f"{point.codec:6} {point.scale:>2} {qp:>3}"
        lines.append(" ".join((head, *rate, "", f"{point.model:12}", *scores)))
    lines += (f"bits do not fall with QP: {line}" for line in results.bits_rise_with_qp)
    return "\n".join(lines)


def _text(value: float | None, form: str) -> str:
    width = int(form.partition(".")[0])
    return f"{'-':>{width}}" if value is None else format(value, form)


COMMAND = study_command(
    "robust_lq.rate_distortion:SWEEP",
    SweepSettings,
    _tables,
    ("rd.csv", "rd.json", "rd_x264.png", "rd_x265.png", "rate.png"),
    report=False,
)
