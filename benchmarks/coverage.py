"""The coverage of intervals on answers and scores drawn for people whose true rates are known.

    python benchmarks/coverage.py [--draws 200] [--people 14 20 60]

Draws answers of a net for K people, makes a calibration as `lq-emotion calibrate` does, and judges new people with it;
and draws recordings with predictions, and their 95 % intervals of RMSE, CC and CCC. No video and no net is involved:
errors and changes of class are random numbers, so that what is true is known. Prints the tables that docs/trust.md and
docs/evaluation.md quote from, each number with its standard error over the draws. About fifteen minutes on two cores.
"""

import argparse
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from lq_emotion.metrics.regression import Score
from lq_emotion.metrics.uncertainty import MEASURES, Moments, joined_score, paired_test, score_intervals
from lq_emotion.quality.calibration import MadeFrom
from lq_emotion.quality.conformal import Samples, make_calibration
from lq_emotion.quality.settings import Grid

SIZES = (96.0, 48.0, 24.0, 12.0)  # of faces in pixels, by the factors 1, 2, 4, 8
FRAMES, CLASSES, NEW = 40, 7, 200
LEVEL, LIMIT = 0.9, 0.8
CHANGES = {"one frame of ten at every size": (0.1, 0.1, 0.1, 0.1), "more as faces shrink": (0.02, 0.06, 0.12, 0.35)}
ALIKE = 0.1  # correlation of the frames of one person
ORIGIN = MadeFrom("drawn answers", "", (), 0, Grid(scales=(1, 2, 4, 8), qps=(28,)), "synthetic")


def conditions(rng: np.random.Generator, counts: np.ndarray) -> dict[str, np.ndarray]:
    """People, scales, QPs and measures of `counts` frames of each person, at every size."""
    person = np.repeat(np.arange(len(counts)), counts)
    recording = np.tile(person, len(SIZES))
    size = np.repeat(SIZES, len(person))
    total = len(size)
    values = np.column_stack(
        [size, size * rng.uniform(2, 3, total), rng.uniform(0.1, 1, total), np.full(total, 120), np.full(total, 40)]
    )
    return {"recording": recording, "scale": SIZES[0] / size, "qp": np.full(total, 28.0), "values": values}


def estimates(rng: np.random.Generator, people: int, unequal: bool) -> Samples:
    """Errors that double at half the size; each person's are larger or smaller, in all frames.

    Where counts are unequal, a person twice as hard has a quarter of the frames, as where a detector loses faces.
    """
    hardness = np.exp(rng.normal(0, 0.5, people))
    counts = np.clip(FRAMES / hardness**2, 3, 10 * FRAMES).astype(int) if unequal else np.full(people, FRAMES)
    known = conditions(rng, counts)
    wrong = 0.1 * known["scale"] * hardness[known["recording"]] * rng.normal(0, 1, len(known["scale"]))
    truth = rng.uniform(-1, 1, len(wrong))
    return Samples(**known, answers=(truth + wrong)[:, None], truth=truth[:, None])


def classes(rng: np.random.Generator, people: int, changes: tuple[float, ...]) -> Samples:
    """Classes that change as often as a size says, on average over people; each person has a rate of his own."""
    known = conditions(rng, np.full(people, FRAMES))
    total = len(known["scale"])
    each = 1 / ALIKE - 1
    rates = np.stack([rng.beta(change * each, (1 - change) * each, people) for change in changes])
    place = np.searchsorted(-np.array(SIZES), -known["values"][:, 0])
    changed = rng.uniform(0, 1, total) < rates[place, known["recording"]]
    truth = np.eye(CLASSES)[rng.integers(0, CLASSES, total)]
    sure = rng.uniform(0.3, 1, total)[:, None]  # says nothing about the change
    named = np.where(changed[:, None], np.roll(truth, 1, axis=1), truth)
    return Samples(**known, answers=sure * named + (1 - sure) / CLASSES * (1 - named), truth=truth)


def errors_of(seed: int, people: int, unequal: bool) -> list[float]:
    """Coverage by person and by frame, and mean width, for one draw."""
    rng = np.random.default_rng((seed, people, unequal))
    calibration = make_calibration(estimates(rng, people, unequal), ORIGIN, ["valence"], level=LEVEL)
    new = estimates(rng, NEW, unequal)
    low, high, _ = calibration.bounds(new.answers, new.values)
    held = ((low <= new.truth) & (new.truth <= high))[:, 0]
    by_person = np.bincount(new.recording, held) / np.bincount(new.recording)
    return [float(by_person.mean()), float(held.mean()), float((high - low).mean())]


def agreement_of(seed: int, people: int, changes: tuple[float, ...]) -> list[float]:
    """For one draw: in all and of each size, the part of the faces whose interval holds; the parts that are trusted.

    An interval is for the faces that get it: it holds if the mean of their true rates lies in it.
    """
    rng = np.random.default_rng((seed, people, round(1000 * sum(changes))))
    calibration = make_calibration(classes(rng, people, changes), ORIGIN, level=LEVEL, limit=LIMIT)
    new = classes(rng, NEW, changes)
    low, high, trusted = calibration.bounds(new.answers, new.values)
    size = new.values[:, 0]
    true = np.select([size == each for each in SIZES], [1 - change for change in changes])
    _, step = np.unique(np.hstack([low, high]), axis=0, return_inverse=True)
    rate = (np.bincount(step, true) / np.bincount(step))[step]
    held = (low[:, 0] <= rate) & (rate <= high[:, 0])
    by_size = (float(held[size == each].mean()) for each in SIZES)
    return [float(held.mean()), *by_size, float(trusted.mean()), float((true >= LIMIT).mean())]


def two_methods(rng: np.random.Generator, count: int, varied: bool) -> list[list[Moments]]:
    """The moments of two methods' predictions, alike but for chance; slopes and noise differ widely if `varied`."""
    frames = rng.integers(3000, 7500, count).astype(float)
    gold, own = rng.normal(0, 0.15, count), 0.15 * np.exp(rng.normal(0, 0.4, count))
    methods = []
    for _ in range(2):
        mean = rng.normal(0, 0.08, count) + 0.5 * gold
        slope = np.clip(rng.normal(0.5, 0.35 if varied else 0.2, count), -0.5, 1.2)
        noise = 0.1 * np.exp(rng.normal(0, 0.8 if varied else 0.4, count))
        pp, gg, pg = frames * (slope**2 * own**2 + noise**2), frames * own**2, frames * slope * own**2
        errors = pp + gg - 2 * pg + frames * (mean - gold) ** 2
        rows = np.stack([frames, mean, gold, pp, gg, pg, errors], axis=1).tolist()
        methods.append([Moments(int(row[0]), *row[1:]) for row in rows])
    return methods


def scores_of(seed: int, count: int, varied: bool, truth: Score) -> list[float]:
    """Whether the intervals of RMSE, CC and CCC hold the scores of unlimited recordings; that of a difference, 0."""
    rng = np.random.default_rng((seed, count, varied))
    first, second = two_methods(rng, count, varied)
    intervals = score_intervals([first])
    held = [intervals[name].low <= getattr(truth, name) <= intervals[name].high for name in MEASURES]
    low, high = paired_test([first], [second], rng=rng, n_resamples=1).interval
    return [*map(float, held), float(low <= 0 <= high)]


def table(draws: int, people: list[int], pool: ProcessPoolExecutor) -> None:
    """Print all tables."""

    def row(name: str, draw: Callable[[int], list[float]], draws: int = draws) -> None:
        results = np.array(list(pool.map(draw, range(draws), chunksize=5)))
        means, errors = results.mean(axis=0), results.std(axis=0, ddof=1) / math.sqrt(draws)
        cells = (f"{mean:.3f} ± {error:.3f}" for mean, error in zip(means, errors, strict=True))
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)

    print("| frames of each person | K | by person | by frame | mean width |\n|---|---|---|---|---|")
    for unequal in (False, True):
        for count in people:
            row(f"{'unequal' if unequal else 'equal'} | {count}", partial(errors_of, people=count, unequal=unequal))
    sizes = " | ".join(f"{size:.0f} px" for size in SIZES)
    print(f"\n| classes change | K | all | {sizes} | trusted | by an oracle |\n" + "|---" * (len(SIZES) + 5) + "|")
    for name, changes in CHANGES.items():
        for count in people:
            row(f"{name} | {count}", partial(agreement_of, people=count, changes=changes))
    print("\n| recordings differ | number | RMSE | CC | CCC | difference in CCC |\n|---|---|---|---|---|---|")
    for varied in (False, True):
        truth = joined_score(two_methods(np.random.default_rng(0), 200_000, varied)[0])
        for count in (5, 9, 18):
            name = "widely" if varied else "some"
            row(f"{name} | {count}", partial(scores_of, count=count, varied=varied, truth=truth), 10 * draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200, help="of people, for each row (default 200)")
    parser.add_argument("--people", type=int, nargs="+", default=[14, 20, 60], metavar="K", help="(default 14 20 60)")
    args = parser.parse_args()
    with ProcessPoolExecutor(2) as pool:
        table(args.draws, args.people, pool)


if __name__ == "__main__":
    main()
