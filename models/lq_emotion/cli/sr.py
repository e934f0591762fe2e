"""``lq-emotion study sr``: the authors' super-resolution net trained on a few images."""

from __future__ import annotations

from lq_emotion.cli.study import study_command
from lq_emotion.common.document import Column, Table, number, row
from lq_emotion.common.plain_text import table_lines
from lq_emotion.studies.robust_lq.super_resolution import SrResults, SrSettings

_COLUMNS = {"nearest": "low resolution", "bicubic": "bicubic", "sr_fcn": "SR-FCN"}


def _table(results: SrResults) -> str:
    images = {**results.psnr, "mean": results.mean_psnr} if len(results.psnr) > 1 else results.psnr
    rows = (
        row(name, *("equal" if psnr[method] is None else number(psnr[method], 2) for method in _COLUMNS))
        for name, psnr in images.items()
    )
    columns = (Column("held out", number=False), *map(Column, _COLUMNS.values()))
    lines = [
        f"PSNR of Y in dB, scale {results.scale}, after {results.iterations} iterations",
        *table_lines(Table("", columns, tuple(rows))),
        "(low resolution: each of its pixels shown as a square, that is nearest neighbour)",
    ]
    gain = results.gain_over_bicubic
    if gain is not None:
        verdict = f"{gain:.2f} dB better than" if gain > 0 else f"{-gain:.2f} dB worse than"
        lines.append(f"SR-FCN is {verdict} bicubic interpolation on images it was not trained on.")
    return "\n".join(lines)


_FILES = ("super_resolution.png", "loss.png", "results.json", "sr_fcn.pt")
COMMAND = study_command("robust_lq.super_resolution:STUDY", SrSettings, _table, _FILES, report=False)
