"""This engine and others: the same nets, weights and inputs. Writes Markdown tables; progress goes to stderr.

    python benchmarks/peers.py [--out FILE] [--nets NAME ...] [--batches N ...] [--threads N ...] [--engines NAME ...]

The first run makes a virtual environment with this package and the other engines; every run goes on in it. The others
get each net as ONNX, OpenCV as prototxt and caffemodel. All compute in float32. Weights are random, from one seed,
except those of published nets.

Each engine has a process of its own, which waits for a line of input, all its threads asleep, while others run. They
take turns: every engine once a round, each round beginning with the next engine. An engine is timed only if its outputs
agree with torch's in float64. A time covers a whole pass, from an array in memory to arrays in memory. The first engine
of a table is this package, and ratios are to its times.
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
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peer_engines import Engine
    from peer_nets import Source

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Of the engines: that of an installed package, and without what importing this one sets."""
PACKAGES = ("onnx", "onnxruntime", "openvino==2026.4.1", "MNN==3.6.1", "ncnn==1.0.20261020", "pnnx==20261020")
"""Packages beside this one, which brings torch and opencv-python; constraints.txt has the other versions."""
TOLERANCE = 1e-3
"""Of the largest value of an output. Winograd in float32 reaches 7e-4, bfloat16 2e-3 and more."""
TURN = 0.1  # seconds that an engine's turn takes at least
LEAST, MOST = 5, 11  # rounds
STARTS = 5  # processes whose first answers are timed
START = "start and memory"

Outputs = Sequence[Any]  # arrays


class EngineError(Exception):
    """An engine cannot do its task."""


class Process:
    """An engine in a process of its own that has answered its task once.

    Attributes
    ----------
    imports, answer : seconds from its start until its packages were imported, and until its first answer.
    memory : the largest resident memory so far, in bytes.
    outputs : its first answer.
    """

    def __init__(self, engine: str, folder: Path, threads: int) -> None:
        self.imports = self.answer = self.memory = math.nan
        words = [sys.executable, str(Path(__file__).with_name("peer_engines.py")), engine, str(folder), str(threads)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        words.append(str(time.monotonic()))
        self._process = subprocess.Popen(words, env=ENVIRONMENT, text=True, bufsize=1, **pipes)
        self.pid = self._process.pid
        self._file = folder / f"{self.pid}.npz"

    def wait(self) -> None:
        """Wait for the first answer."""
        import numpy as np

        reply = self._read()
        self.imports, self.answer = reply["imports"], reply["answer"]
        with np.load(self._file) as outputs:
            self.outputs = list(outputs.values())
        self._file.unlink()

    def seconds(self, passes: int) -> float:
        """Run passes, wait until its threads are asleep, and return what the passes took; NaN if it fails."""
        try:
            self._process.stdin.write(f"{passes}\n")
            return self._read()["seconds"]
        except (EngineError, OSError):
            return math.nan

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise EngineError(f"its process ends with {self._process.wait()}")
        reply = json.loads(line)
        if "problem" in reply:
            raise EngineError(reply["problem"])
        self.memory = reply["memory"]
        return reply


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
    if not record.exists() or json.loads(record.read_text()).get("versions") != versions:
        print(f"installing into {folder}", file=sys.stderr)
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


def time_in_turns(engines: Mapping[str, Process], budget: float) -> dict[str, list[float]]:
    """Return the seconds of a pass in each round, by engine; each round begins with the next engine.

    Parameters
    ----------
    budget : seconds that the rounds may take, once there are LEAST of them.
    """
    lengths = {name: engine.seconds(1) for name, engine in engines.items()}
    repeats = {name: max(1, math.ceil(TURN / max(1e-9, length))) for name, length in lengths.items()}
    cost = sum(repeats[name] * length for name, length in lengths.items())
    times: dict[str, list[float]] = {name: [] for name in engines}
    names = list(engines)
    for i in range(max(LEAST, min(MOST, int(budget / max(1e-9, cost))))):
        at = i % max(len(names), 1)
        for name in names[at:] + names[:at]:
            times[name].append(engines[name].seconds(repeats[name]) / repeats[name])
    return times


def compare(
    task: tuple[str, int, int], engines: Mapping[str, Callable[[], Process]], expected: Outputs, budget: float
) -> list[Result]:
    """Return what every engine does with a task; those that fail, or whose outputs differ, are not timed.

    Parameters
    ----------
    task : net, batch, threads.
    engines : functions that start a process, by engine.
    expected : the outputs for the first images.
    budget : seconds for all rounds.
    """
    differences: dict[str, float] = {}
    problems: dict[str, str] = {}
    with ExitStack() as stack:
        running = {name: start() for name, start in engines.items()}
        for process in running.values():
            stack.callback(process.close)
        for name, process in running.items():
            try:
                process.wait()
                differences[name] = largest_difference(process.outputs, expected)
            except (EngineError, ValueError) as error:
                problems[name] = str(error)
        times = time_in_turns({name: running[name] for name, d in differences.items() if d <= TOLERANCE}, budget)
    problems |= {name: "its process ends early" for name in times if math.isnan(sum(times[name]))}
    times = {name: seconds for name, seconds in times.items() if name not in problems}
    first = next(iter(engines))
    results = []
    for name in engines:
        seconds = ratio = None
        if name in times:
            seconds = statistics.median(times[name])
        if name in times and first in times and name != first:
            ratio = statistics.median(its / ours for its, ours in zip(times[name], times[first], strict=True))
        results.append(Result(*task, name, differences.get(name), seconds, ratio, problems.get(name, "")))
    return results


def cell(result: Result) -> str:
    """Return a result as the table shows it."""
    if result.problem:
        return "fails"
    if result.seconds is None:
        return f"differs ({result.difference:.0e})"
    text = f"{result.seconds * 1e3:.3g} ms" if result.seconds < 1 else f"{result.seconds * 1e3:.0f} ms"
    return text if result.ratio is None else f"{text} ({result.ratio:.2f})"


def table(results: Sequence[Result]) -> str:
    """Return the results of one number of threads as a Markdown table: a row for each net and batch size."""
    engines = list(dict.fromkeys(result.engine for result in results))
    cells = {(result.net, result.batch, result.engine): cell(result) for result in results}
    rows = [
        [net, str(batch), *(cells.get((net, batch, engine), "") for engine in engines)]
        for net, batch in dict.fromkeys((result.net, result.batch) for result in results)
    ]
    return markdown(["net", "batch", *engines], rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def start_and_memory(engines: Mapping[str, Engine], nets: Mapping[str, Source], threads: int) -> str:
    """Return a table of how soon fresh processes answer for one image, and of their memory at batch 128."""
    from peer_engines import IMPORT

    columns: list[dict[str, str]] = [{}, {}, {}, {}]
    alone = [IMPORT, *(name for name in engines if not name.startswith("torch"))]  # torch's are built with ours
    with tempfile.TemporaryDirectory() as folder:
        nets["CNN+D"].prepare(1, Path(folder))
        starts = [{name: once(name, Path(folder), threads) for name in alone} for _ in range(1 + STARTS)]
    for name in alone:
        for column, attribute in zip(columns, ("imports", "answer"), strict=False):
            seconds = [getattr(start[name], attribute) for start in starts[1:]]  # the first one converts
            column[name] = f"{statistics.median(seconds):.2f} s"
    trained = [name for name, engine in engines.items() if engine.train]
    for column, net, names in ((2, "CNN+D", engines), (3, "CNN+D, SGD iteration", trained)):
        with tempfile.TemporaryDirectory() as folder:
            nets[net].prepare(128, Path(folder))
            for name in (IMPORT, *names):
                columns[column][name] = f"{once(name, Path(folder), threads).memory / 2**20:.0f} MiB"
    head = ["engine", "imports", "first answer", "memory, inference", "memory, training"]
    return markdown(head, [[name, *(column.get(name, "") for column in columns)] for name in (IMPORT, *engines)])


def once(engine: str, folder: Path, threads: int) -> Process:
    """Return a process that has answered a task twice, and ended."""
    process = Process(engine, folder, threads)
    try:
        process.wait()
        process.seconds(1)
    except EngineError as error:
        print(f"{engine} fails: {error}", file=sys.stderr)
    process.close()
    return process


def report(results: Sequence[Result], starts: str, absent: Mapping[str, str], load: float, threads: int) -> str:
    """Return all results as Markdown."""
    packages = ["caffe-compat", "torch", "opencv-python", *(name.partition("==")[0] for name in PACKAGES)]
    parts = [
        f"{processor()}, {os.cpu_count()} cores; load average {load:.1f} before.",
        f"{', '.join(f'{name} {version(name)}' for name in packages if name not in absent)}.",
    ]
    if results:
        parts.append(
            f"Medians of {LEAST} to {MOST} rounds, float32, each engine in its own process; in brackets the median of "
            f"the rounds' ratios to {results[0].engine}, above 1 where an engine is slower. "
            f"An engine *differs* if an output is further than {TOLERANCE:g} of its largest value from float64's."
        )
    for count in dict.fromkeys(result.threads for result in results):
        parts.append(f"### {count} {'thread' if count == 1 else 'threads'}")
        parts.append(table([result for result in results if result.threads == count]))
    if starts:
        parts.append("### Start and memory")
        parts.append(
            f"CNN+D, threads {threads}: from a process's start until its packages are imported and until its first "
            f"answer for one image (medians of {STARTS}), and its largest resident memory at batch 128.\n\n{starts}"
        )
    problems = [f"- {name} is absent: {reason}" for name, reason in absent.items()]
    for result in results:
        if result.problem:
            where = f"{result.net}, batch {result.batch}, threads {result.threads}"
            problems.append(f"- {result.engine} fails ({where}): {result.problem}")
    return "\n\n".join([*parts, "\n".join(problems)]).strip() + "\n"


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def write(path: Path, text: str) -> None:
    """Write a file, complete or not at all."""
    from caffe_compat.formats.atomic import atomic_path

    with atomic_path(path) as file:
        file.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    published = ROOT.parent / "shared" / "reference" / "published"
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="Markdown, written after every cell; without, it is printed at the end"
    )
    parser.add_argument("--nets", nargs="+", metavar="NAME", help=f"only these; '{START}' is one")
    parser.add_argument("--batches", type=int, nargs="+", metavar="N", help="only these sizes")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--engines", nargs="+", metavar="NAME", help="only these; ratios are to the first of the table")
    parser.add_argument(
        "--budget", type=float, default=15, metavar="S", help="seconds for the rounds of a cell's engines"
    )
    parser.add_argument("--published", type=Path, default=published, metavar="DIR", help="has mtcnn and mini_xception")
    parser.add_argument("--environment", type=Path, default=ROOT / "build" / "peers", metavar="DIR", help="its place")
    args = parser.parse_args()
    absent = enter_environment(args.environment.resolve())

    from peer_engines import ENGINES
    from peer_nets import sources
    from tqdm import tqdm

    nets = sources(args.published)
    for given, names in ((args.nets, [*nets, START]), (args.engines, ENGINES)):
        if unknown := set(given or ()) - set(names):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; the names are: {'; '.join(names)}")
    present = {name: engine for name, engine in ENGINES.items() if not absent.keys() & set(engine.needs)}
    engines = {name: engine for name, engine in present.items() if not args.engines or name in args.engines}
    tasks = [(net, batch) for net in nets if not args.nets or net in args.nets for batch in nets[net].batches]
    tasks = [(net, batch) for net, batch in tasks if not args.batches or batch in args.batches]
    load, results, starts = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan, [], ""

    def tables() -> str:
        by_threads = sorted(results, key=lambda result: args.threads.index(result.threads))
        return report(by_threads, starts, absent, load, args.threads[-1])

    with tqdm(total=len(tasks) * len(args.threads), disable=None) as bar:
        for net, batch in tasks:
            with tempfile.TemporaryDirectory() as name:
                bar.set_description(f"{net}, {batch}")
                folder, source = Path(name), nets[net]
                expected = source.prepare(batch, folder)
                able = [name for name, engine in engines.items() if source.solver is None or engine.train]
                for threads in args.threads:
                    makers = {name: partial(Process, name, folder, threads) for name in able}
                    results += compare((net, batch, threads), makers, expected, args.budget)
                    bar.update()
                    if args.out:
                        write(args.out, tables())
                    tqdm.write(f"{net}, batch {batch}, threads {threads}", file=sys.stderr)
        if not args.nets or START in args.nets:
            bar.set_description(START)
            starts = start_and_memory(engines, nets, args.threads[-1])
    if args.out is None:
        print(tables())
    else:
        write(args.out, tables())


if __name__ == "__main__":
    main()
