"""Choose the point of a table for a link: the best score that fits the bandwidth and the delay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from caffe_compat.errors import DataError
from lq_emotion.common.records import Record
from lq_emotion.common.settings import Settings, option
from lq_emotion.studies.cloud_robotics.link.table import OperatingPoint, RateTable

HEADER_BYTES = 20 + 8 + 12  # of IPv4, UDP and RTP: RFC 791, RFC 768, RFC 3550
PAYLOAD_BYTES = 1500 - HEADER_BYTES  # what Ethernet's frame of 1500 bytes leaves


def packets_of(frame_bytes: float) -> int:
    """Return how many packets a coded frame takes."""
    return max(1, -int(-frame_bytes // PAYLOAD_BYTES))


def wire_bits(frame_bits: float) -> float:
    """Return the bits of a coded frame with the headers of its packets."""
    return frame_bits + 8 * HEADER_BYTES * packets_of(frame_bits / 8)


@dataclass
class Pacer:
    """A link that sends one bit after the other: tells when the last bit of what is given to it has left.

    Attributes
    ----------
    kbps : its rate, in 1000 bits per second.
    free : when it has sent everything, in seconds.
    """

    kbps: float
    free: float = 0.0

    def send(self, bits: float, now: float) -> float:
        """Queue bits at a time in seconds; return when the last of them has left."""
        self.free = max(now, self.free) + bits / (1000 * self.kbps)
        return self.free


@dataclass(frozen=True, kw_only=True)
class Demand(Settings):
    """What the answers must meet, and what is assumed of everything but the link's rate; times in ms."""

    budget: float = option(
        500.0, "latency budget, from an event to the robot receiving the estimate", above=0, metavar="MS",
        group="demand",
    )  # fmt: skip
    round_trip: float = option(20.0, "propagation there and back", least=0, metavar="MS", group="demand")
    computing: float = option(
        30.0, "encoding, decoding, finding the face and the net, a frame; the loopback measures it", least=0,
        metavar="MS", group="demand",
    )  # fmt: skip
    reserve: float = option(
        0.1, "fraction of the bandwidth to keep free, in addition to packet headers", least=0, most=0.99,
        metavar="PART", group="demand",
    )  # fmt: skip
    largest: float = option(
        5.0, "largest frame in mean frames, for points whose largest frame was not measured", least=1, offered=False
    )


@dataclass(frozen=True)
class Choice(Record):
    """The answer for a bandwidth.

    Attributes
    ----------
    kbps : the bandwidth, in 1000 bits per second.
    point : what to send; None if nothing will do.
    wire_kbps : rate of the point with packet headers.
    delay : the longest to be expected, in ms.
    least_kbps : the least bandwidth at which any point will do; None if the delay alone rules out all.
    """

    kbps: float
    point: OperatingPoint | None
    wire_kbps: float | None
    delay: float | None
    least_kbps: float | None


def wire_kbps(point: OperatingPoint) -> float:
    """Return the rate of a point with packet headers, in kbit/s, as if all frames were of one size."""
    return wire_bits(1000 * point.rate / point.fps) * point.fps / 1000


def largest_frame(point: OperatingPoint, demand: Demand) -> float:
    """Return the bits of the largest frame with its headers."""
    mean = 1000 * point.rate / point.fps
    return wire_bits(demand.largest * mean if point.largest_bits is None else point.largest_bits)


def waiting(point: OperatingPoint, demand: Demand) -> float:
    """Return the delay that no bandwidth removes, in ms: up to the next frame, for propagation and for computing."""
    return 1000 / point.fps + demand.round_trip + demand.computing


def longest_latency(point: OperatingPoint, demand: Demand) -> float:
    """Return how long after its capture a frame must be answered on this side of the propagation, in ms."""
    return demand.budget - 1000 / point.fps - demand.round_trip


def delay(point: OperatingPoint, kbps: float, demand: Demand) -> float:
    """Return the longest delay at a bandwidth, in ms: `waiting`, and the time that the largest frame is on the link."""
    return waiting(point, demand) + largest_frame(point, demand) / (kbps * (1 - demand.reserve))


def least_kbps(point: OperatingPoint, demand: Demand) -> float:
    """Return the least bandwidth that carries a point within the delay; infinite if none does."""
    for_link = demand.budget - waiting(point, demand)
    keeps_up = demand.computing <= 1000 / point.fps  # else frames come faster than they are answered
    if for_link <= 0 or not keeps_up:
        return math.inf
    return max(wire_kbps(point), largest_frame(point, demand) / for_link) / (1 - demand.reserve)


def choose(table: RateTable, kbps: float, demand: Demand) -> Choice:
    """Return the point with the best score that a bandwidth carries within the delay; of equals, that of fewest bits.

    Parameters
    ----------
    table : a table with at least one point.
    kbps : the bandwidth, in 1000 bits per second.

    Raises
    ------
    DataError
        The bandwidth is not positive.
    """
    if not (math.isfinite(kbps) and kbps > 0):
        raise DataError("out of range", code="out-of-range", field="kbps", value=kbps, hint="more than 0")
    needed = [(least_kbps(point, demand), point) for point in table.points]
    least = min(rate for rate, _ in needed)
    fitting = [point for rate, point in needed if rate <= kbps]
    if not fitting:
        return Choice(kbps, None, None, None, least if math.isfinite(least) else None)
    best = max(fitting, key=lambda point: (point.score, -wire_kbps(point)))
    return Choice(kbps, best, wire_kbps(best), delay(best, kbps, demand), least)


def front(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """Return the points that no other beats: from few bits to many, each better than all before it."""
    best: list[OperatingPoint] = []
    for point in sorted(points, key=lambda point: (wire_kbps(point), -point.score)):
        if not best or point.score > best[-1].score:
            best.append(point)
    return best
