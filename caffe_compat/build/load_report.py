"""What happened to the blobs of a file that was copied into a net, and layers copied under another name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import CaffeCompatError, WeightsError, did_you_mean, raise_together

Blobs = Mapping[str, Sequence["npt.NDArray[Any] | None"]]


@dataclass(frozen=True)
class Mismatch:
    """A layer of the file that was left out, as its blobs are not those of the net.

    Attributes
    ----------
    layer : its name in the net.
    problem : what does not fit, blob by blob.
    """

    layer: str
    problem: str


@dataclass(frozen=True)
class NotFinite:
    """A blob with values that are not finite numbers.

    Attributes
    ----------
    layer, index : which blob.
    nan, infinite : how many of its values are either.
    size : how many values it has.
    """

    layer: str
    index: int
    nan: int
    infinite: int
    size: int

    def __str__(self) -> str:
        found = [f"{count} {kind}" for count, kind in ((self.nan, "NaN"), (self.infinite, "infinite")) if count]
        return f"layer {self.layer!r}, blob {self.index}: {' and '.join(found)} of {self.size} values"


def not_finite(blobs: Blobs) -> tuple[NotFinite, ...]:
    """Return the blobs, of arrays by layer, that hold NaN or infinite values."""
    found = []
    for layer, arrays in blobs.items():
        for index, array in enumerate(arrays):
            with np.errstate(invalid="ignore", over="ignore"):  # a sum shows them, and needs no memory
                finite = array is None or np.isfinite(np.sum(array, dtype=np.float64))
            if array is not None and not finite:
                nan, infinite = (int(np.count_nonzero(test(array))) for test in (np.isnan, np.isinf))
                if nan + infinite:
                    found.append(NotFinite(layer, index, nan, infinite, array.size))
    return tuple(found)


@dataclass(frozen=True)
class LoadReport:
    """What happened to each blob.

    Attributes
    ----------
    copied : state_dict keys that got their values from the file.
    ignored : layers of the file that the net does not have (Caffe ignores them), or that were renamed to nothing.
    left_at_filler : state_dict keys the file says nothing about.
    renamed : (layer of the file, layer of the net) for those copied under another name.
    reshaped : state_dict keys whose values had another shape of the same count in the file.
    mismatched : layers left out, where `mismatched="skip"` asked for that.
    absent : every layer of the file that the net does not have, those without blobs too: what Caffe logs.
    not_finite : blobs of the net's layers that hold NaN or infinite values in the file; they are copied all the same.
    """

    copied: tuple[str, ...]
    ignored: tuple[str, ...]
    left_at_filler: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()
    reshaped: tuple[str, ...] = ()
    mismatched: tuple[Mismatch, ...] = ()
    absent: tuple[str, ...] = ()
    not_finite: tuple[NotFinite, ...] = ()

    def lines(self, file: str | PathLike[str]) -> list[tuple[str, str]]:
        """Return the place in Caffe's source and the text of each line that it logs about the layers of a file."""
        place = "net.cpp:801" if fspath(file).endswith(".h5") else "net.cpp:746"
        return [(place, f"Ignoring source layer {name}") for name in self.absent]

    def warnings(self, file: object) -> list[str]:
        """Return what should be said of a file of weights that was copied: one sentence for each blob."""
        return [f"{file}: {blob}" for blob in self.not_finite]

    def refuse_unrelated(self, file: str | PathLike[str], layers: Sequence[str]) -> None:
        """Raise WeightsError if nothing of a file went into a net with these learned layers."""
        if not layers or self.copied or self.mismatched or self.reshaped:
            return
        problem = f"no layer of it has parameters for this net; it has {_few(self.ignored)}, the net {_few(layers)}"
        hint = "the definition that these weights belong to, or rename, which takes a layer under another name"
        raise WeightsError(problem, file=file, hint=hint)

    def __str__(self) -> str:
        parts = [f"{len(self.copied)} blobs copied"]
        if self.renamed:
            parts.append(f"renamed: {', '.join(f'{old} to {new}' for old, new in self.renamed)}")
        if self.reshaped:
            parts.append(f"reshaped: {', '.join(self.reshaped)}")
        if self.ignored:
            parts.append(f"layers ignored: {', '.join(self.ignored)}")
        if self.mismatched:
            parts.append(f"left out: {', '.join(f'{m.layer} ({m.problem})' for m in self.mismatched)}")
        if self.left_at_filler:
            parts.append(f"left at their fillers: {', '.join(self.left_at_filler)}")
        return "; ".join(parts)


def _few(names: Sequence[str]) -> str:
    return ", ".join([*names[:4], *(["..."] if len(names) > 4 else [])]) or "none"


def renamed_layers(
    blobs: Blobs,
    rename: Mapping[str, str] | None,
    layers: Mapping[str, object],
    file: str | PathLike[str] | None,
) -> tuple[Blobs, tuple[tuple[str, str], ...]]:
    """Return the file's layers under the net's names, and which were renamed."""
    if not rename:
        return blobs, ()
    problems: list[CaffeCompatError] = []
    for old, new in rename.items():
        where: Any = {"file": file, "field": "rename", "value": f"{old}={new}"}
        if old not in blobs:
            hint = did_you_mean(old, blobs)
            problems.append(WeightsError("the file has no such layer", **where, hint=hint))
        elif new and new not in layers:
            hint = did_you_mean(new, layers)
            problems.append(WeightsError("the net has no such layer", **where, hint=hint))
        elif new in blobs and new not in rename:
            problem = "the file has a layer of that name as well"
            problems.append(WeightsError(problem, **where, hint=f"rename {new}= leaves it out"))
    targets = [new for new in rename.values() if new]
    problems += [
        WeightsError("two layers are renamed to it", file=file, field="rename", value=new)
        for new in sorted({new for new in targets if targets.count(new) > 1})
    ]
    raise_together(problems)
    taken = {rename.get(name, name): arrays for name, arrays in blobs.items() if rename.get(name, name)}
    return taken, tuple((old, new) for old, new in rename.items() if new)
