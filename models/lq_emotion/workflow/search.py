"""Bayesian optimisation with a Gaussian process (Snoek, Larochelle and Adams 2012), each trial a stage.

The first trials cover the space evenly (Sobol's sequence). Later ones follow from a Gaussian process fitted to all
earlier trials (Matern 5/2, with a variance and a length scale for each parameter): they lie where the expected
improvement is largest, and every fourth where the process itself is smallest, since expected improvement alone often
explores while the best trial can still be refined. Where that place was tried before, the trial is where the process
is least certain.
What a trial tries is a function of the space, the seed and the results of the earlier trials alone, so a search that
was killed goes on to the same trials as if it had never stopped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffe_compat.errors import DataError
from lq_emotion.common.json_files import read_record, write_json
from lq_emotion.common.plots import BLUE, INK, ORANGE, SOFT, new_figure, save, shared_legend
from lq_emotion.common.progress import Say
from lq_emotion.common.records import Record
from lq_emotion.workflow.stages import Stage

Objective = Callable[[Mapping[str, float], Path, Say], float]
"""From the parameters of a trial, its folder and its log to the value to minimise; it continues a killed trial."""
FIRST = 5
"""Trials that cover the space evenly, by default."""
_REFINE = 4  # every fourth later trial is where the process is smallest
_PANELS = 4  # in a row of the picture
_SAME = 1e-3  # of the scale: what is nearer is taken for the same place


@dataclass(frozen=True)
class Parameter(Record):
    """A parameter that is searched between two limits, which may be tried themselves."""

    name: str
    low: float
    high: float
    log: bool = False
    """Search on a logarithmic scale, as suits learning rates."""
    whole: bool = False
    """Try whole numbers only."""

    def __post_init__(self) -> None:
        limits, problem = (self.low, self.high), ""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            problem = "limits must be finite, the lower one first"
        elif self.log and self.low <= 0:
            problem = "limits of a logarithmic scale must be positive"
        elif self.whole and not all(float(limit).is_integer() for limit in limits):
            problem = "limits of whole numbers must be whole"
        if problem:
            raise DataError(problem, code="out-of-range", field=self.name, value=limits)

    def value(self, place: float) -> float:
        """Return the value at a place in [0, 1] of the scale."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        scaled = low + place * (high - low)
        value = math.exp(scaled) if self.log else scaled
        return min(max(float(round(value)) if self.whole else value, self.low), self.high)

    def place(self, value: float) -> float:
        """Return the place in [0, 1] of a value."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        return ((math.log(value) if self.log else value) - low) / (high - low)


@dataclass(frozen=True)
class Trial(Record):
    """A trial: its number from 0, the values of the parameters by name, and the objective."""

    number: int
    parameters: Mapping[str, float]
    objective: float


def search_stages(
    name: str,
    space: tuple[Parameter, ...],
    folder: Path,
    objective: Objective,
    settings: Mapping[str, object],
    reads: Sequence[Path] = (),
    *,
    trials: int = 25,
    first: int = FIRST,
    seed: int = 0,
) -> list[Stage[None]]:
    """Return a stage for each trial, which writes its `Trial` to ``trial_00.json`` and may use the folder ``trial_00``.

    `objective` is picklable where stages run in other processes; a value that is not finite fails the trial. `settings`
    are what decides its value besides the parameters and the files in `reads`; JSON. The `first` trials cover the space
    evenly and do not depend on each other, so they can run side by side.
    """
    results = tuple(folder / f"trial_{number:02}.json" for number in range(trials))
    common = {
        "space": [parameter.to_json() for parameter in space],
        "first": first, "seed": seed, "objective": dict(settings),
    }  # fmt: skip
    return [
        Stage(
            f"{name} trial {number + 1}",
            partial(_try, space, objective, earlier, path, number, first=first, seed=seed),
            {**common, "trial": number},
            (*reads, *earlier),
            (path,),
        )
        for number, path in enumerate(results)
        for earlier in [results[:number] if number >= first else ()]
    ]


def _try(
    space: Sequence[Parameter],
    objective: Objective,
    earlier: Sequence[Path],
    path: Path,
    number: int,
    say: Say = print,
    *,
    first: int,
    seed: int,
) -> None:
    """Run a trial, and write it; `earlier` are the files of those before it."""
    parameters = proposal(space, [read_record(one, Trial) for one in earlier], number, first=first, seed=seed)
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    value = float(objective(parameters, folder, say))
    if not math.isfinite(value):
        hint = "return a large number where a training diverges"
        raise DataError("the objective is not finite", code="not-finite", field=path.stem, value=value, hint=hint)
    write_json(Trial(number, parameters, value).to_json(), path)


def proposal(
    space: Sequence[Parameter], earlier: Sequence[Trial], number: int, *, first: int, seed: int
) -> dict[str, float]:
    """Return the parameters of trial `number`, from 0, given all `earlier` ones; the `first` ones need none."""
    place = _even(len(space), number, seed) if number < first else _promising(space, earlier, number, seed)
    return {parameter.name: parameter.value(float(x)) for parameter, x in zip(space, place, strict=True)}


def _even(dimensions: int, number: int, seed: int) -> npt.NDArray[np.float64]:
    from scipy.stats import qmc

    sequence = qmc.Sobol(dimensions, rng=np.random.default_rng(seed))  # scrambled
    places: npt.NDArray[np.float64] = sequence.random_base2(number.bit_length())[number]
    return places


def _promising(space: Sequence[Parameter], earlier: Sequence[Trial], number: int, seed: int) -> npt.NDArray[np.float64]:
    """Return where in the unit cube a trial promises most, or teaches most where that place was tried before."""
    tried = np.array([[p.place(trial.parameters[p.name]) for p in space] for trial in earlier])
    objectives = [trial.objective for trial in earlier]
    random = np.random.SeedSequence([seed, number]).generate_state(1)
    place = _suggested(tried, objectives, random, kappa=0.0 if number % _REFINE == 0 else None)
    actual = np.array([p.place(p.value(float(x))) for p, x in zip(space, place, strict=True)])  # rounded, if whole
    if np.abs(tried - actual).max(axis=1).min() < _SAME:
        return _suggested(tried, objectives, random, kappa=1e6)
    return place


def _suggested(
    tried: npt.NDArray[np.float64],
    objectives: Sequence[float],
    random: npt.NDArray[np.unsignedinteger[Any]],
    *,
    kappa: float | None,
) -> npt.NDArray[np.float64]:
    """Return the most promising place, (parameters,), from (N, parameters) places tried and (N,) objectives."""
    from bayes_opt import BayesianOptimization
    from bayes_opt.acquisition import ExpectedImprovement, UpperConfidenceBound
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern
    from threadpoolctl import threadpool_limits

    names = [str(number) for number in range(tried.shape[1])]
    search = BayesianOptimization(
        None,
        dict.fromkeys(names, (0.0, 1.0)),
        acquisition_function=ExpectedImprovement(xi=0.0) if kappa is None else UpperConfidenceBound(kappa=kappa),
        random_state=np.random.RandomState(random),
        verbose=0,
        allow_duplicate_points=True,
    )
    lengths = Matern(np.full(len(names), 0.3), (0.02, 10.0), nu=2.5)
    search.set_gp_params(kernel=ConstantKernel(1.0, (0.05, 100.0)) * lengths)  # the library standardises objectives
    for place, objective in zip(tried, objectives, strict=True):
        search.register(dict(zip(names, place, strict=True)), -objective)  # the library maximises
    with threadpool_limits(1):  # small matrices; and the same sums for every number of threads
        suggested = search.suggest()
    return np.array([suggested[name] for name in names], np.float64)


def draw_course(
    course: Sequence[Trial],
    space: Sequence[Parameter],
    path: Path,
    *,
    first: int = FIRST,
    title: str = "",
    label: str = "objective",
) -> None:
    """Draw objective and best so far by trial, and the objective by the value of each parameter."""
    if not course:
        raise DataError("no trial to draw", code="empty", field="course")
    columns = min(len(space), _PANELS)
    rows = -(-len(space) // columns)
    figure = new_figure(max(6.0, 2.9 * columns), 2.9 + 2.3 * rows)
    upper, lower = figure.subfigures(2, 1, height_ratios=(2.9, 2.3 * rows))
    if title:
        figure.suptitle(title, fontsize=11)
    best = min(course, key=lambda trial: trial.objective)
    axes = upper.subplots()
    numbers = [trial.number + 1 for trial in course]
    objectives = [trial.objective for trial in course]
    axes.step(numbers, list(itertools.accumulate(objectives, min)), where="post", color=BLUE, label="best so far")
    _dots(axes, numbers, course, best, first)
    axes.set(xlabel="trial", ylabel=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    shared_legend(upper, fontsize=8)
    panels = lower.subplots(rows, columns, squeeze=False, sharey=True)
    for panel, parameter in zip(panels.flat, space, strict=False):
        _dots(panel, [trial.parameters[parameter.name] for trial in course], course, best, first)
        panel.set(xlabel=parameter.name, xscale="log" if parameter.log else "linear")
        panel.set_xlim(*_limits(parameter))
    for panel in panels.flat[len(space) :]:
        panel.set_axis_off()
    for panel in (axes, *panels.flat):
        panel.grid(visible=True, alpha=0.3)
    for panel in panels[:, 0]:
        panel.set_ylabel(label)
    save(figure, path)


def _dots(axes: Any, places: Sequence[float], course: Sequence[Trial], best: Trial, first: int) -> None:
    """Draw rings for the first trials, dots for the later ones, and the best one larger."""
    kinds = (("first trials, even over the space", SOFT, "none", True), ("later trials", INK, INK, False))
    for label, edge, face, early in kinds:
        points = [
            (place, trial.objective)
            for place, trial in zip(places, course, strict=True)
            if (trial.number < first) == early
        ]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=edge, markerfacecolor=face, markersize=4, label=label)
    place = places[course.index(best)]
    axes.plot([place], [best.objective], "o", color=ORANGE, markerfacecolor="none", markersize=10, label="best")


def _limits(parameter: Parameter) -> tuple[float, float]:
    """Return limits a little beyond those of the parameter, so that trials at them are seen."""
    if parameter.log:
        margin = (parameter.high / parameter.low) ** 0.04
        return parameter.low / margin, parameter.high * margin
    margin = 0.04 * (parameter.high - parameter.low)
    return parameter.low - margin, parameter.high + margin
