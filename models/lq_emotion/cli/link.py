"""``lq-emotion link``: which video a robot should send over a link, what to expect of it, and how long answers take."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from caffe_compat.errors import DataError
from lq_emotion.cli.command import Command
from lq_emotion.common.progress import Say
from lq_emotion.common.settings import Settings, device_option, option
from lq_emotion.studies.cloud_robotics.link.choice import (
    Choice,
    Demand,
    LinkResults,
    choose,
    longest_latency,
    write_results,
    written,
)
from lq_emotion.studies.cloud_robotics.link.table import read_table

if TYPE_CHECKING:
    from lq_emotion.studies.cloud_robotics.link.loopback import Measured, Passage


def _rates(text: str) -> tuple[float, ...]:
    parsed = re.fullmatch(r"(\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?", text)
    first, last = (None if part is None else float(part) for part in parsed.groups()) if parsed else (None, None)
    if not first or (last is not None and last < first):
        hint = "use a rate such as 64, or a range such as 8..512"
        raise DataError("no rate", code="invalid", field="--kbps", value=text, hint=hint)
    rates = [first]
    while last is not None and 2 * rates[-1] <= last:
        rates.append(2 * rates[-1])
    return tuple(rates)


@dataclass(frozen=True, kw_only=True)
class LinkSettings(Settings):
    """Settings of ``link``."""

    table: Path = option(
        help="measured points: CSV or JSON (docs/link.md), or the rd.json of lq-emotion study rd", metavar="FILE"
    )
    kbps: tuple[tuple[float, ...], ...] = option(
        (_rates("8..512"),), "bandwidths in kbit/s, such as 64 or 8..512, which doubles from 8 up to 512", read=_rates,
        metavar="RATE", shown="8..512",
    )  # fmt: skip
    out: Path | None = option(None, "write link.json, link.csv and link.png there", metavar="FOLDER")
    demand: Demand = field(default_factory=Demand)
    loopback: Path | None = option(
        None, "send this video over a socket of this machine at each chosen point, and answer each frame",
        metavar="VIDEO", group="loopback",
    )  # fmt: skip
    frames: int = option(100, "largest number of frames", least=1, group="loopback")
    model: str = option("mini-xception", "name of a model, or a caffemodel", metavar="MODEL", group="loopback")
    detector: str = option("mtcnn", "mtcnn, ultra-light, ultra-light-slim or haar", group="loopback")
    device: str = device_option("loopback")


def _link(settings: LinkSettings, say: Say) -> LinkResults:
    table = read_table(settings.table)
    rates = sorted({rate for some in settings.kbps for rate in some})
    choices = [choose(table, kbps, settings.demand) for kbps in rates]
    passages: list[tuple[float, Passage]] = []
    rows = tuple(replace(choice, measured=_measure(settings, choice, passages, say)) for choice in choices)
    results = LinkResults(str(settings.table), table.measure, settings.demand, rows)
    if settings.out is not None:
        write_results(results, table, settings.out, passages)
    return results


def _measure(
    settings: LinkSettings, choice: Choice, passages: list[tuple[float, Passage]], say: Say
) -> Measured | None:
    """Return what the loopback measured of a choice, and add its frames to the passages."""
    if settings.loopback is None or choice.point is None:
        return None
    from lq_emotion.predict.instruments import load_instruments
    from lq_emotion.predict.settings import PredictSettings
    from lq_emotion.studies.cloud_robotics.link.ends import send_video

    instruments = load_instruments(
        PredictSettings(models=(settings.model,), detector=settings.detector, device=settings.device)
    )
    say(f"{choice.kbps:g} kbit/s: {choice.point.name}")
    late = longest_latency(choice.point, settings.demand)
    traffic = send_video(
        settings.loopback, choice.point, choice.kbps, instruments, frames=settings.frames, patience=late / 1000
    )
    passages += ((choice.kbps, passage) for passage in traffic.passages)
    return traffic.summary(late)


def _show(results: LinkResults, settings: LinkSettings) -> None:
    measure = results.measure
    print(f"\n{'kbit/s':>7}  {'send':32} {'needs':>7} {'delay':>7}  {measure:>8}  model")
    for choice in results.rows:
        point = choice.point
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
    for choice in results.rows:
        if choice.measured is not None:
            over = "; more bits than the link carries" if choice.measured.wire_kbps > choice.kbps else ""
            print(f"{choice.kbps:7g}  {_measurement(choice.measured)}{over}")
    if settings.out is not None:
        for name in written(results):
            print(f"  {settings.out / name}")


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"


def _measurement(measured: Measured) -> str:
    times = (measured.latency_p50, measured.latency_p95, measured.latency_max)
    latency = " ".join("-" if time is None else f"{time:.0f}" for time in times)
    return (
        f"measured: {measured.answered} of {measured.captured} frames answered, {measured.late} late; "
        f"{measured.wire_kbps:.4g} kbit/s with headers; latency (median, 95 %, max) {latency} ms"
    )


COMMAND = Command(LinkSettings, _link, _show)
