"""The rows of Table 1 as files to read: which data, which initial weights, which net; and how long, by preset.

``{s}`` is the row's factor, ``{max}`` the largest one (paper 16, code 12), ``{mixture}`` the factors of the mixture.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
ROWS = ("hr", "lr", "non_joint", "joint", "joint_oa")
PRESETS = ("authors", "small", "demo")


@dataclass(frozen=True)
class Recipe:
    """One row.

    Attributes
    ----------
    row : its name in the paper.
    net : the shipped definition and solver, as `experiment.NETS` calls them.
    data : folder of h5_files to train with.
    start : the super-resolution run that conv1 to conv3 are taken from, if any.
    test : crops to be scored on.
    seed : added to the runner's.
    """

    row: str
    net: str
    data: str
    start: str
    test: str
    seed: int


def recipe(name: str) -> Recipe:
    """Return one of `ROWS`."""
    return Recipe(**_read(name))


def preset(name: str) -> dict[str, dict[str, Any]]:
    """Return what one of `PRESETS` changes in each of the shipped trainings, and in the data."""
    return _read(name)


def _read(name: str) -> dict[str, Any]:
    with (_FOLDER / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)
