"""This engine and others: the same nets, weights and inputs. Prints Markdown tables; progress goes to stderr.

    python benchmarks/peers.py [--threads 1 2] [--rounds 7] [--nets NAME ...] [--published DIR] [--json FILE]

The first run makes a virtual environment with this package and the other engines; every run goes on in it. The others
get each net as ONNX, OpenCV as prototxt and caffemodel. All compute in float32, on one number of threads, in turns:
every engine once a round, each round beginning with the next engine. Weights are random, from one seed, except those of
published nets.

An engine is timed only if its outputs agree with torch's in float64. A time covers a whole pass, from an array in
memory to arrays in memory. The first engine of a table is this package, and ratios are to its times.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("onnx", "onnxruntime", "openvino==2026.4.1", "MNN==3.6.1", "ncnn==1.0.20261020", "pnnx==20261020")
"""Packages beside this one, which brings torch and opencv-python; constraints.txt has the other versions."""
TOLERANCE = 5e-4
"""Of the largest value of an output. Winograd in float32 reaches 1e-4, bfloat16 2e-3."""
TURN = 0.1  # seconds that an engine's turn takes at least
PAUSE = 0.02  # seconds before a turn: threads of the engine before it fall asleep
ITERATIONS = 3  # of training, whose losses are compared

Outputs = Sequence[Any]  # arrays
Run = Callable[[], Outputs]


@dataclass(frozen=True)
class Result:
    """What an engine did with a net.

    Attributes
    ----------
    net, batch, threads, engine : what ran.
    difference : the largest from float64, as a part of the output's largest value; None if the engine failed.
    seconds : a pass, the median of all rounds; None if it was not timed.
    ratio : to the first engine's time, the median of the rounds' ratios; None for the first one itself.
    problem : why it failed.
    """

    net: str
    batch: int
    threads: int
    engine: str
    difference: float | None = None
    seconds: float | None = None
    ratio: float | None = None
    problem: str = ""


def enter_environment(folder: Path) -> dict[str, str]:
    """Go on in this benchmark's own environment, made if needed; return the absent packages, with the reasons."""
    record = folder / "peers.json"
    if Path(sys.prefix) == folder:
        absent: dict[str, str] = json.loads(record.read_text())["absent"]
        return absent
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
    versions = [*PACKAGES, (ROOT / "constraints.txt").read_text()]
    print(f"installing into {folder}", file=sys.stderr)
    if not record.exists() or json.loads(record.read_text()).get("versions") != versions:
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([*pip, "setuptools", "wheel"], check=True)
        record.write_text(json.dumps({"versions": versions, "absent": install(pip)}))
    subprocess.run([*pip, "--no-build-isolation", "-e", ROOT], check=True)  # every time, for its compiled parts
    raise SystemExit(subprocess.run([python, __file__, *sys.argv[1:]], check=False).returncode)


def install(pip: Sequence[str | Path]) -> dict[str, str]:
    """Install the packages of the other engines; return those that cannot be installed, with the reasons."""
    absent = {}
    for package in PACKAGES:
        done = subprocess.run([*pip, package], check=False, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            absent[package.partition("==")[0]] = errors[-1] if errors else f"pip exits with {done.returncode}"
    return absent


def largest_difference(outputs: Outputs, expected: Outputs) -> float:
    """Return how far outputs are from those expected, as a part of the largest value expected of each.

    Rows that only one of the two has are not compared, but count for the largest value. Axes of length 1 may be absent.
    """
    worst = 0.0
    for values, right in zip(outputs, expected, strict=True):
        count = min(len(values), len(right))
        rows = right[:count]
        difference = float(abs(values[:count].reshape(rows.shape) - rows).max() / abs(right).max())
        worst = max(worst, difference if math.isfinite(difference) else math.inf)
    return worst


def time_in_turns(
    runs: Mapping[str, Run], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Return the seconds of a pass in each round, by engine; each round begins with the next engine."""
    repeats = {}
    for name, run in runs.items():
        start = clock()
        run()
        repeats[name] = max(1, math.ceil(TURN / max(clock() - start, 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)] if names else ():
            time.sleep(PAUSE)
            if repeats[name] > 1:
                runs[name]()  # brings a small net back into the caches
            start = clock()
            for _ in range(repeats[name]):
                runs[name]()
            times[name].append((clock() - start) / repeats[name])
    return times


def compare(
    task: tuple[str, int, int], makers: Mapping[str, Callable[[], Run]], expected: Outputs, rounds: int, passes: int = 1
) -> list[Result]:
    """Return what every engine does with a task; those that fail, or whose outputs differ, are not timed.

    Parameters
    ----------
    task : net, batch, threads.
    makers : functions that set an engine up and return what runs a pass, by engine.
    expected : what the first `passes` passes return, one after the other, for the first images.
    """
    runs: dict[str, Run] = {}
    differences: dict[str, float] = {}
    problems: dict[str, str] = {}
    for name, make in makers.items():
        try:
            run = make()
            differences[name] = largest_difference([out for _ in range(passes) for out in run()], expected)
        except Exception as error:  # noqa: BLE001 - whatever another engine raises is a result
            problems[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            continue
        if differences[name] <= TOLERANCE:
            runs[name] = run
    times = time_in_turns(runs, rounds)
    first = next(iter(makers))
    results = []
    for name in makers:
        seconds = ratio = None
        if name in times:
            seconds = statistics.median(times[name])
        if name in times and first in times and name != first:
            ratio = statistics.median(its / ours for its, ours in zip(times[name], times[first], strict=True))
        results.append(Result(*task, name, differences.get(name), seconds, ratio, problems.get(name, "")))
    return results


def cell(result: Result | None) -> str:
    """Return a result as the table shows it."""
    if result is None:
        return ""
    if result.difference is None:
        return "fails"
    if result.seconds is None:
        return f"differs ({result.difference:.0e})"
    text = f"{result.seconds * 1e3:.3g} ms" if result.seconds < 1 else f"{result.seconds * 1e3:.0f} ms"
    return text if result.ratio is None else f"{text} ({result.ratio:.2f})"


def table(results: Sequence[Result]) -> str:
    """Return the results of one number of threads as a Markdown table: a row for each net and batch size."""
    engines = list(dict.fromkeys(result.engine for result in results))
    cells = {(result.net, result.batch, result.engine): cell(result) for result in results}
    lines = [f"| net | batch | {' | '.join(engines)} |", "|---|---|" + "---|" * len(engines)]
    for net, batch in dict.fromkeys((result.net, result.batch) for result in results):
        row = [cells.get((net, batch, engine), "") for engine in engines]
        lines.append(f"| {net} | {batch} | {' | '.join(row)} |")
    return "\n".join(lines)


def report(results: Sequence[Result], absent: Mapping[str, str], loads: Sequence[float], rounds: int) -> str:
    """Return all results as Markdown."""
    packages = ["caffe-compat", "torch", "opencv-python", *(name.partition("==")[0] for name in PACKAGES)]
    first = results[0].engine
    parts = [
        f"{processor()}, {os.cpu_count()} cores; load average {loads[0]:.1f} before and {loads[1]:.1f} after.",
        f"{', '.join(f'{name} {version(name)}' for name in packages if name not in absent)}.",
        f"Medians of {rounds} rounds, float32; in brackets the ratio to {first}, above 1 where an engine is slower.",
        f"An engine *differs* if an output is further than {TOLERANCE:g} of its largest value from float64's.",
    ]
    for threads in dict.fromkeys(result.threads for result in results):
        parts.append(f"### {threads} {'thread' if threads == 1 else 'threads'}")
        parts.append(table([result for result in results if result.threads == threads]))
    problems = [f"- {name} is absent: {reason}" for name, reason in absent.items()]
    for result in results:
        if result.problem:
            where = f"{result.net}, batch {result.batch}, threads {result.threads}"
            problems.append(f"- {result.engine} fails ({where}): {result.problem}")
    return "\n\n".join([*parts, "\n".join(problems)]).strip()


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def load_average() -> float:
    """Return the mean number of running processes of the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan


def infer(args: argparse.Namespace, threads: int, absent: Mapping[str, str]) -> list[Result]:
    """Return the results of all nets' forward passes."""
    from peer_engines import ENGINES
    from peer_nets import make_model, sources

    results = []
    for net, source in sources(args.published).items():
        for batch in source.batches:
            if (args.nets and net not in args.nets) or (args.batches and batch not in args.batches):
                continue
            print(f"{net}, batch {batch}, threads {threads}", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                model = make_model(source, batch, Path(folder))
                present = {name: make for name, (needed, make) in ENGINES.items() if not absent.keys() & set(needed)}
                makers = {name: partial(make, model, threads) for name, make in present.items()}
                results += compare((net, batch, threads), makers, model.expected, args.rounds)
    return results


def train(args: argparse.Namespace, threads: int) -> list[Result]:
    """Return the results of one SGD iteration of CNN+D; the losses of the first ones are compared."""
    from peer_engines import training

    batch = args.train_batch
    print(f"SGD iteration, batch {batch}, threads {threads}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder, training(batch, Path(folder)) as (makers, double):
        expected = [loss for _ in range(ITERATIONS) for loss in double()]
        return compare(("CNN+D, SGD iteration", batch, threads), makers, expected, args.rounds, ITERATIONS)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=Path, default=ROOT / "build" / "peers", metavar="DIR", help="its place")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--nets", nargs="+", metavar="NAME", help="only these, without training")
    parser.add_argument("--batches", type=int, nargs="+", metavar="N", help="only these batch sizes")
    parser.add_argument("--train-batch", type=int, default=128, metavar="N", help="the batch size of training")
    parser.add_argument("--published", type=Path, metavar="DIR", help="a folder with mtcnn and mini_xception")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the results, complete or not at all")
    args = parser.parse_args()
    absent = enter_environment(args.environment.resolve())

    import torch

    from caffe_compat.formats.atomic import atomic_path

    before, results = load_average(), []
    for threads in args.threads:
        torch.set_num_threads(threads)
        results += infer(args, threads, absent)
        if not args.nets:
            results += train(args, threads)
    loads = (before, load_average())
    print(report(results, absent, loads, args.rounds))
    if args.json:
        content = {"processor": processor(), "loads": loads, "rounds": args.rounds, "absent": absent}
        content["results"] = [asdict(result) for result in results]
        with atomic_path(args.json) as file:
            file.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
