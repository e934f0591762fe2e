"""The nets and methods of the study, and the only place where another spelling of their names is translated.

A `Net` is a definition with its solver; its value is what the authors call it, what users type and what files record.
A `Method` is a row of Table 1; its value is the paper's word for it.
"""

from __future__ import annotations

import re
from enum import StrEnum

FACTORS = (3, 4, 6, 8, 12, 16)
"""The downsampling factors of Table 1."""


class Net(StrEnum):
    """A net to train, see `nets.definitions`."""

    SCRATCH = "HQ"
    JOINT = "vlqr"
    NON_JOINT = "vlqr_non_joint"
    SR_FCN = "pretrain"


class Method(StrEnum):
    """A method of Table 1, in the paper's order.

    The recipe of a method is the file of `studies.robust_lq.recipes` that bears the member's name: ``joint_oa.toml``.
    """

    HR = "HR"
    LR = "LR"
    NON_JOINT = "Non-Joint"
    JOINT = "Joint"
    JOINT_OA = "Joint-OA"

    @property
    def recipe(self) -> str:
        """Return the name of the method's recipe: ``joint_oa``."""
        return self.name.lower()

    @property
    def serves_all_factors(self) -> bool:
        """Whether one net of this method serves every factor."""
        return self in (Method.HR, Method.JOINT_OA)

    def at(self, factor: int) -> str:
        """Return the label of the method at a factor: ``LR-3``; ``HR`` and ``Joint-OA`` at any."""
        return self.value if self.serves_all_factors else f"{self.value}-{factor}"


_FILE_NAME_PATTERNS = {  # tried in this order: "non_joint" contains "joint", and so does "joint_oa"
    Method.NON_JOINT: r"non[-_ ]?joint",
    Method.JOINT_OA: r"(?<![a-z])oa(?![a-z])|mix",
    Method.JOINT: r"joint|vlqr",
    Method.HR: r"(?<![a-z])(hq|hr)(?![a-z])",
    Method.LR: r"(?<![a-z])(lq|lr)(?![a-z])",
}


def method_in(file_name: str) -> Method | None:
    """Return the method in the name of a weights file or of a folder: ``vlqr_12``, ``non_joint-x4``, ``OA``."""
    letters = re.sub(r"\d", " ", file_name.lower())
    return next((method for method, pattern in _FILE_NAME_PATTERNS.items() if re.search(pattern, letters)), None)


def factor_in(file_name: str) -> int | None:
    """Return the factor in the name of a weights file or of a folder; None without one, or with several."""
    factors = {int(number) for number in re.findall(r"\d+", file_name)} & set(FACTORS)
    return factors.pop() if len(factors) == 1 else None


def parse_label(label: str) -> tuple[Method, int | None] | None:
    """Return the method and the factor of a label such as ``LR-3``, ``HR`` or ``Joint``; None for any other text."""
    methods = "|".join(sorted(Method, key=len, reverse=True))
    match = re.fullmatch(rf"({methods})(?:-(\d+))?", label)
    if not match:
        return None
    method, factor = Method(match[1]), int(match[2]) if match[2] else None
    if factor is not None and (factor not in FACTORS or method is Method.HR):
        return None
    return method, factor


def crops_folder(factor: int) -> str:
    """Return the folder of the crops at a factor: ``HQ`` at 1, else ``LR3``."""
    return "HQ" if factor == 1 else f"LR{factor}"


def factor_of_crops(folder: str) -> int | None:
    """Return the factor of a folder of crops; None where the name is no such folder's."""
    match = re.fullmatch(r"HQ|LR(\d+)", folder)
    return int(match[1] or 1) if match else None
