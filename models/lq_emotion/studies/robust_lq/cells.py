"""Trainings of the study, and the crops that each net is scored on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lq_emotion.crops.h5 import OWN
from lq_emotion.nets import definitions
from lq_emotion.nets.names import Method, Net, crops_folder
from lq_emotion.studies.robust_lq import recipes
from lq_emotion.studies.robust_lq.plan import Part, StudyPlan
from lq_emotion.studies.robust_lq.recipes import ABLATIONS, MISMATCH, Recipe, Variant


@dataclass(frozen=True)
class Training:
    """A training of the study.

    Attributes
    ----------
    name : name of the run.
    net : what is trained.
    data : the folder of h5_files with its training data.
    start : the factor of the super-resolution that it starts from; None for the fillers.
    mixture : the factors of a mixture; empty for data of one factor.
    sizes : factors by which the training faces are smaller than 96 x 96.
    random_seed : Caffe's.
    seed : the seed of the study that it belongs to.
    """

    name: str
    net: Net
    data: str
    start: int | None
    mixture: tuple[int, ...]
    sizes: tuple[int, ...]
    random_seed: int
    seed: int


@dataclass(frozen=True)
class StudyCell:
    """A net, and the crops on which it is scored.

    Attributes
    ----------
    method : a row of the published table, or a variant.
    factor : s of the method; 1 for HR, which is in every column of the table.
    tested : the factor of the crops.
    test : the crops' name.
    training : training of the net.
    """

    method: Method | Variant
    factor: int
    tested: int
    test: str
    training: Training

    @property
    def run(self) -> str:
        """Return the name of the training."""
        return self.training.name

    @property
    def scores(self) -> Path:
        """Return the folder of its scores, relative to ROOT."""
        return Path("scores") / f"{self.run}_on_{self.test}"


def cells(plan: StudyPlan) -> list[StudyCell]:
    """Return all cells of the parts of a study: by seed, Table 1 first.

    Trainings that would be the same, such as those of Joint-12 and of Max-12, are one.
    """
    cells: dict[StudyCell, None] = {}
    trainings: dict[tuple[object, ...], Training] = {}
    for seed in range(plan.seed, plan.seed + plan.seeds):
        for cell in _all_cells(plan, seed):
            t = cell.training
            training = trainings.setdefault((t.net, t.data, t.start, t.random_seed), t)
            cells[StudyCell(cell.method, cell.factor, cell.tested, cell.test, training)] = None
    return list(cells)


def _all_cells(plan: StudyPlan, seed: int) -> Iterator[StudyCell]:
    for method in _methods(plan):
        recipe = recipes.recipe(method)
        for s in (1,) if method is Method.HR else plan.scales:
            training = _training(plan, recipe, s, seed)
            for tested in plan.scales if "{t}" in recipe.test else (s,):
                test = recipe.test.format(t=tested, **_filled(plan, s)) + (OWN if _own(plan, recipe) else "")
                yield StudyCell(method, s, tested, test, training)


def _methods(plan: StudyPlan) -> list[Method | Variant]:
    """Return the methods of the parts of a study: the rows of Table 1, which all parts compare with, and variants."""
    methods: list[Method | Variant] = list(plan.rows)
    methods += MISMATCH if Part.MISMATCH in plan.parts else ()
    methods += ABLATIONS if Part.ABLATIONS in plan.parts else ()
    return methods


def _training(plan: StudyPlan, recipe: Recipe, s: int, seed: int) -> Training:
    filled = _filled(plan, s)
    own, mixture = _own(plan, recipe), _mixture(plan, recipe)
    return Training(
        name=run_name(plan, recipe.row.format(**filled), seed),
        net=recipe.net,
        data=recipe.data.format(**filled) + (OWN if own else ""),
        start=int(recipe.start.format(**filled)) if recipe.start else None,
        mixture=mixture,
        sizes=(mixture or (s,)) if own else (1,),
        random_seed=seed + 10 * recipe.seed,
        seed=seed,
    )


def run_name(plan: StudyPlan, name: str, seed: int) -> str:
    """Return the name of a run: that of the method at the first seed, ``HR.seed1`` at others."""
    return name if seed == plan.seed else f"{name}.seed{seed}"


def _filled(plan: StudyPlan, s: int) -> dict[str, object]:
    mixtures = {"mixture": plan.mixture, "all": plan.scales}
    names = {name: "_".join(map(str, sorted(factors))) for name, factors in mixtures.items()}
    return {"s": s, "max": plan.largest_factor, **names}


def _mixture(plan: StudyPlan, recipe: Recipe) -> tuple[int, ...]:
    """Return the factors of a mixture, in ascending order; none for data of one factor."""
    if "{all}" in recipe.data:
        return tuple(sorted(plan.scales))
    return tuple(sorted(plan.mixture)) if "{mixture}" in recipe.data else ()


def _own(plan: StudyPlan, recipe: Recipe) -> bool:
    """Tell whether a net takes faces at their own size; HQ faces and those for SR-FCN have one size only."""
    is_small = recipe.data != crops_folder(1)
    return plan.switches.input_size == "own" and definitions.builder(recipe.net).own_size and is_small
