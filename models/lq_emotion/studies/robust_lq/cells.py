"""Trainings of the study, and the crops that each net is scored on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lq_emotion.crops.h5 import OWN
from lq_emotion.nets import definitions
from lq_emotion.nets.names import Method, Net, crops_folder
from lq_emotion.studies.robust_lq import recipes
from lq_emotion.studies.robust_lq.plan import Part, StudyPlan
from lq_emotion.studies.robust_lq.recipes import ABLATIONS, MISMATCH, Recipe, Variant
from lq_emotion.training.settings import Changes, TrainingSettings


@dataclass(frozen=True)
class Training:
    """A training of the study; its name is that of the run."""

    name: str
    net: Net
    data: str
    """The folder of h5_files with its training data, of ``sr`` for super-resolution."""
    start: int | None
    """The factor of the super-resolution that it starts from; None for the fillers."""
    mixture: tuple[int, ...]
    """The factors of a mixture; empty for data of one factor."""
    sizes: tuple[int, ...]
    """Factors by which the training faces are smaller than 96 x 96."""
    random_seed: int
    """Caffe's."""
    seed: int
    """The seed of the study that it belongs to."""

    @property
    def mixes_sizes(self) -> bool:
        """Whether its data are a mixture of faces at their own sizes."""
        return bool(self.mixture) and self.sizes != (1,)


@dataclass(frozen=True)
class StudyCell:
    """A net, and the crops on which it is scored."""

    method: Method | Variant
    factor: int
    """s of the method; 1 for HR, which is in every column of the table."""
    tested: int
    """The factor of the crops."""
    test: str
    """The crops' name."""
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
    methods: list[Method | Variant] = list(plan.rows)  # all parts compare with the rows of Table 1
    methods += MISMATCH if Part.MISMATCH in plan.parts else ()
    methods += ABLATIONS if Part.ABLATIONS in plan.parts else ()
    for method in methods:
        recipe = recipes.recipe(method)
        for s in (1,) if method is Method.HR else plan.scales:
            training = _training(plan, recipe, s, seed)
            for tested in plan.scales if "{t}" in recipe.test else (s,):
                test = recipe.test.format(t=tested, **_filled(plan, s)) + (OWN if _own(plan, recipe) else "")
                yield StudyCell(method, s, tested, test, training)


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


def super_resolution(plan: StudyPlan, s: int, seed: int) -> Training:
    """Return the training of super-resolution at a factor."""
    name = run_name(plan, f"{Net.SR_FCN}-{s}", seed)
    return Training(name, Net.SR_FCN, f"{s}", None, (), (1,), seed + 100 + s, seed)


def weights_of(plan: StudyPlan, training: Training) -> Path:
    """Return the last snapshot of a training."""
    builder = definitions.builder(training.net)
    iterations = int(plan.preset_of(training.net).get("max_iter") or builder.solver(plan.switches).max_iter)
    name = f"{builder.snapshot_name}_iter_{iterations}.caffemodel"
    return plan.root / "runs" / training.name / "snapshots" / name


def start_of(plan: StudyPlan, training: Training) -> Path | None:
    """Return the weights that a training starts from; None for the fillers."""
    start = training.start
    return None if start is None else weights_of(plan, super_resolution(plan, start, training.seed))


def data_of(plan: StudyPlan, training: Training) -> Path:
    """Return the folder of the files that a net learns from."""
    return plan.root / ("sr" if training.net is Net.SR_FCN else "h5_files") / training.data


def changes_of(plan: StudyPlan, training: Training) -> dict[str, Any]:
    """Return what the preset and the user change in a training."""
    return {**plan.preset_of(training.net), "random_seed": training.random_seed}


def settings_of(plan: StudyPlan, training: Training) -> TrainingSettings:
    """Return the settings of a training."""
    return TrainingSettings(
        out=plan.root / "runs" / training.name,
        h5=data_of(plan, training),
        net=training.net,
        weights=start_of(plan, training),
        changes=Changes(**changes_of(plan, training)),
        switches=plan.switches,
        device=plan.device,
        aside=plan.root / "runs_before",
    )


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
