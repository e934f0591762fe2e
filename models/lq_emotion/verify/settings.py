"""Settings of a verification."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from caffe_compat.errors import DataError
from lq_emotion.common.settings import Settings, option
from lq_emotion.datasets.avec.partitions import Partitions, add_partitions, partitions_of
from lq_emotion.nets.names import FACTORS, Method, parse_label
from lq_emotion.verify.crops import read_crops

ClaimedCell = tuple[Method | None, int | None]
"""The cell that weights claim to be: a method of Table 1 or None, and a factor or None for all."""


def read_cell(text: str) -> tuple[str, ClaimedCell]:
    """Read FILE=METHOD or FILE=METHOD-FACTOR, a cell of Table 1."""
    name, _, cell = text.rpartition("=")
    claim = parse_label(cell)
    if not name or claim is None:
        methods = ", ".join(method for method in Method if method is not Method.HR)
        hint = f"FILE=HR, or FILE=METHOD-S of {methods} and S of {', '.join(map(str, FACTORS))}"
        raise DataError("names no cell of Table 1", code="name-unknown", field="--cell", value=text, hint=hint)
    return name, claim


@dataclass(frozen=True, kw_only=True)
class VerifySettings(Settings):
    """Settings of a verification."""

    weights: Path = option(
        help="folder or zip archive of .caffemodel and .caffemodel.h5 files, or one file", metavar="DIR"
    )
    recordings: Path | None = option(
        None, "prepared recordings to score on, for a comparison with Table 1", metavar="ROOT"
    )
    crops: tuple[tuple[str, int], ...] = option(
        (), "factor of a folder of crops not named HQ or LR<s>, if the crops do not show it: faces=HQ, small=4",
        read=read_crops, repeated=True, metavar="FOLDER=S",
    )  # fmt: skip
    partitions: Partitions | None = option(None, add=add_partitions, collect=partitions_of)
    delay: float = option(
        0.0, "delay of the gold standard in seconds, including what prepare removed", least=0, metavar="S"
    )
    cells: tuple[tuple[str, ClaimedCell], ...] = option(
        (), "cell of Table 1 that a file belongs to, if its name does not say: class/a.caffemodel=Joint-3",
        name="--cell", read=read_cell, repeated=True, metavar="FILE=METHOD-S",
    )  # fmt: skip
    out: Path = option(Path("verify.json"), "result file", metavar="FILE")
    against: Path | None = option(
        None, "earlier result that passed; every byte must be unchanged since (the only check that finds plausible "
        "changes). The default is --out, for files of the same names", metavar="FILE",
    )  # fmt: skip
    fresh: bool = option(False, "replace the result in --out without comparing with it")
    caffe: str | None = option(
        None, "a Python with genuine Caffe, as a third engine (default: this Python, if it has Caffe)",
        metavar="PYTHON",
    )  # fmt: skip
    device: str = option("auto", "device of this engine: auto, cpu, cuda or cuda:N")
