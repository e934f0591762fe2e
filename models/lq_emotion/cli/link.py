"""``lq-emotion link``: which video a robot should send over a link, what to expect of it, and how long answers take."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lq_emotion.cli.options import at_least, number_from, teller

if TYPE_CHECKING:
    from lq_emotion.studies.cloud_robotics.link.choice import Choice, Demand
    from lq_emotion.studies.cloud_robotics.link.loopback import Measured, Passage
    from lq_emotion.studies.cloud_robotics.link.results import LinkResults


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    text = "choose size, frame rate and QP for a bandwidth and a delay, and measure them over a loopback"
    link = commands.add_parser("link", help=text, description=text, allow_abbrev=False)
    option = link.add_argument
    help_text = "measured points: CSV or JSON (docs/link.md), or the rd.json of lq-emotion rd"
    option("--table", type=Path, required=True, metavar="FILE", help=help_text)
    help_text = "bandwidths in kbit/s, such as 64 or 8..512, which doubles from 8 up to 512 (default 8..512)"
    option("--kbps", type=_rates, nargs="+", default=[_rates("8..512")], metavar="RATE", help=help_text)
    option("--out", type=Path, metavar="FOLDER", help="write link.json, link.csv and link.png there")
    option("--json", action="store_true", help="print results as JSON to stdout and progress to stderr")
    demand = link.add_argument_group("demand")
    help_text = "longest delay from an event to the robot's knowing the estimate of it (default 500)"
    demand.add_argument("--budget", type=number_from(0), default=500.0, metavar="MS", help=help_text)
    help_text = "propagation there and back (default 20)"
    demand.add_argument("--round-trip", type=number_from(0), default=20.0, metavar="MS", help=help_text)
    help_text = "encoding, decoding and estimating, a frame (default 30); the loopback measures it"
    demand.add_argument("--computing", type=number_from(0), default=30.0, metavar="MS", help=help_text)
    help_text = "part of the bandwidth that stays free, beside packet headers (default 0.1)"
    demand.add_argument("--reserve", type=number_from(0), default=0.1, metavar="PART", help=help_text)
    loopback = link.add_argument_group("loopback")
    help_text = "send this video over a socket of this machine at each chosen point, and answer each frame"
    loopback.add_argument("--loopback", type=Path, metavar="VIDEO", help=help_text)
    loopback.add_argument("--frames", type=at_least(1), default=100, metavar="N", help="at most (default 100)")
    help_text = "name of a model, or a caffemodel (default mini-xception)"
    loopback.add_argument("--model", default="mini-xception", metavar="MODEL", help=help_text)
    help_text = "mtcnn, ultra-light, ultra-light-slim or haar (default mtcnn)"
    loopback.add_argument("--detector", default="mtcnn", metavar="NAME", help=help_text)
    loopback.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default auto)")
    link.set_defaults(run=_link)


def _rates(text: str) -> list[float]:
    parsed = re.fullmatch(r"(\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?", text)
    first, last = (None if part is None else float(part) for part in parsed.groups()) if parsed else (None, None)
    if not first or (last is not None and last < first):
        raise argparse.ArgumentTypeError(f"expected a rate such as 64 or a range such as 8..512, got {text!r}")
    rates = [first]
    while last is not None and 2 * rates[-1] <= last:
        rates.append(2 * rates[-1])
    return rates


def _link(args: argparse.Namespace) -> int:
    from lq_emotion.studies.cloud_robotics.link.choice import Demand, choose
    from lq_emotion.studies.cloud_robotics.link.results import LinkResults, LinkRow, write_results
    from lq_emotion.studies.cloud_robotics.link.table import read_table

    table = read_table(args.table)
    demand = Demand(
        budget=args.budget, round_trip=args.round_trip, computing=args.computing, reserve=args.reserve
    )  # fmt: skip
    choices = [choose(table, kbps, demand) for kbps in sorted({rate for some in args.kbps for rate in some})]
    passages: list[tuple[float, Passage]] = []
    measured: list[Measured | None] = [None] * len(choices)
    if args.loopback:
        measured = [_measure(args, choice, demand, passages) for choice in choices]
    rows = tuple(map(LinkRow, choices, measured))
    results = LinkResults(str(args.table), table.measure, demand, rows)
    files = write_results(results, table, args.out, passages) if args.out else []
    if args.json:
        print(json.dumps(results.to_json(), indent=2))
    else:
        _report(results)
        for file in files:
            print(f"  {file}")
    return 0


def _measure(
    args: argparse.Namespace, choice: Choice, demand: Demand, passages: list[tuple[float, Passage]]
) -> Measured | None:
    """Return what the loopback measured of a choice, and add its frames to the passages."""
    from lq_emotion.predict.settings import PredictSettings, load_instruments
    from lq_emotion.studies.cloud_robotics.link.choice import longest_latency
    from lq_emotion.studies.cloud_robotics.link.ends import send_video

    if choice.point is None:
        return None
    instruments = load_instruments(
        PredictSettings(models=(args.model,), detector=args.detector, device=args.device)
    )  # fmt: skip
    teller(args)(f"{choice.kbps:g} kbit/s: {choice.point.name}")
    late = longest_latency(choice.point, demand)
    traffic = send_video(
        args.loopback, choice.point, choice.kbps, instruments, frames=args.frames, patience=late / 1000
    )  # fmt: skip
    passages += ((choice.kbps, passage) for passage in traffic.passages)
    return traffic.summary(late)


def _report(results: LinkResults) -> None:
    measure = results.measure
    print(f"\n{'kbit/s':>7}  {'send':32} {'needs':>7} {'delay':>7}  {measure:>8}  model")
    for row in results.rows:
        choice, point = row.choice, row.choice.point
        if point is None:
            least = choice.least_kbps
            problem = (
                "nothing: no bandwidth meets the budget" if least is None else f"nothing: it takes {least:.4g} kbit/s"
            )
            print(f"{choice.kbps:7g}  {problem}")
            continue
        sent = f"{point.content} {point.name}"
        print(
            f"{choice.kbps:7g}  {sent:32} {choice.wire_kbps:7.4g} {choice.delay:4.0f} ms  {point.score:8.3f}  "
            f"{point.model}{_interval(point.low, point.high)}"
        )
    for row in results.rows:
        if row.measured is not None:
            over = "; more bits than the link carries" if row.measured.wire_kbps > row.choice.kbps else ""
            print(f"{row.choice.kbps:7g}  {_measurement(row.measured)}{over}")


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"


def _measurement(measured: Measured) -> str:
    times = (measured.latency_p50, measured.latency_p95, measured.latency_max)
    latency = " ".join("-" if time is None else f"{time:.0f}" for time in times)
    return (
        f"measured: {measured.answered} of {measured.captured} frames answered, {measured.late} late; "
        f"{measured.wire_kbps:.4g} kbit/s with headers; latency (median, 95 %, max) {latency} ms"
    )
