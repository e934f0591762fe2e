"""The rows of Table 1 as files: which data, which initial weights, which net; and, by preset, how long to train.

``{s}`` is the row's factor, ``{max}`` the largest one (paper 16, code 12), ``{mixture}`` the factors of the mixture.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lq_emotion.nets.names import Method, Net

_FOLDER = Path(__file__).parent
PRESETS = ("authors", "small", "demo")


@dataclass(frozen=True)
class Recipe:
    """How a row of Table 1 is trained and tested.

    Attributes
    ----------
    row : its name in the paper.
    net : what is trained.
    data : the folder of h5_files to train with.
    start : the super-resolution run that initialises conv1 to conv3; "" for none.
    test : the crops to score on.
    seed : ten times this is added to the seed of the study.
    """

    row: str
    net: Net
    data: str
    start: str
    test: str
    seed: int


def recipe(method: Method) -> Recipe:
    """Read the recipe of a method."""
    fields = _read(method.recipe)
    return Recipe(**{**fields, "net": Net(fields["net"])})


def preset(name: str) -> dict[str, dict[str, Any]]:
    """Read what one of `PRESETS` changes in the training of each net, and in the data (``sr``)."""
    return _read(name)


def _read(name: str) -> dict[str, Any]:
    with (_FOLDER / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)
