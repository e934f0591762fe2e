"""Methods as files: which data, which initial weights, which net; and, by preset, how long to train.

``{s}`` is the method's factor, ``{max}`` the largest one (paper 16, code 12), ``{mixture}`` the factors of the mixture,
``{all}`` all factors of the study; ``{t}`` is each of them, where a net is tested on all.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lq_emotion.nets.names import Method, Net

_FOLDER = Path(__file__).parent
PRESETS = ("authors", "small", "demo")


class Variant(StrEnum):
    """A method that is not in Table 1; the paper speaks of it in section 3.2, footnote 1 or section 4.1.

    The recipe of a variant is the file that bears the member's name: ``hr_on_lr.toml``.
    """

    HR_ON_LR = "HR on LR"
    MAX_S = "Max"
    MAX_ALL = "Max-all"
    MIX_FROM_S = "Mix-from"

    @property
    def recipe(self) -> str:
        """Return the name of the variant's recipe: ``hr_on_lr``."""
        return self.name.lower()


MISMATCH = (Variant.HR_ON_LR,)
ABLATIONS = (Variant.MAX_S, Variant.MAX_ALL, Variant.MIX_FROM_S)


@dataclass(frozen=True)
class Recipe:
    """The training and the test of a method."""

    row: str
    """Its name, in the paper where it has one there."""
    net: Net
    data: str
    """The folder of h5_files to train with."""
    start: str
    """The factor of the super-resolution that initialises conv1 to conv3; "" for none."""
    test: str
    """The crops to score on."""
    seed: int
    """Ten times this is added to the seed of the study."""


def shown_lr(method: Method) -> Method | Variant:
    """Return what a method is called where its net is shown LR faces: HR is then no row of Table 1."""
    return Variant.HR_ON_LR if method is Method.HR else method


def recipe(method: Method | Variant) -> Recipe:
    """Read the recipe of a method."""
    fields = _read(method.recipe)
    return Recipe(**{**fields, "net": Net(fields["net"])})


def preset(name: str) -> dict[str, dict[str, Any]]:
    """Read what one of `PRESETS` changes in the training of each net, and in the data (``sr``)."""
    return _read(name)


def _read(name: str) -> dict[str, Any]:
    with (_FOLDER / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)
