"""A sender and a receiver on this machine: what a stream really costs, and how long the answers to its frames take.

Both share a clock and the processor; between them is a TCP connection on 127.0.0.1, on which each coded frame is
written when its last bit would have left the link. There is no radio: nothing is lost, and nothing propagates.
"""

from __future__ import annotations

import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from statistics import quantiles
from typing import Any

import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.common.ahead import Ahead
from lq_emotion.common.records import Record
from lq_emotion.studies.cloud_robotics.link.table import OperatingPoint, wire_bits
from lq_emotion.video.frames import Frame, Image
from lq_emotion.video.live import LiveDecoder, LiveEncoder, find_live_codec

Prepare = Callable[[Image], Image | None]
"""Turns a captured frame into the image to send, of the point's size; None sends that there is no face."""
Answer = Callable[[Frame | None], int]
"""Estimates what it can about a decoded frame, or about one without a face; returns the number of faces."""
_HEADER = struct.Struct(">II")  # number of the frame, bytes of its packet; in place of RTP's
_WAITING = 256  # coded frames between encoder and socket


@dataclass(frozen=True, kw_only=True)
class Passage(Record):
    """The way of a frame; times in seconds since the first was captured, NaN until then."""

    index: int
    captured: float
    encoded: float
    sent: float = math.nan
    """The time at which its last bit left the link."""
    received: float = math.nan
    decoded: float = math.nan
    answered: float = math.nan
    bits: int
    """Of its packet."""
    wire_bits: float
    """The same with the headers of the link."""
    faces: int = 0

    @property
    def latency(self) -> float:
        """The time from capture to answer, in ms."""
        return 1000 * (self.answered - self.captured)

    @property
    def computing(self) -> float:
        """The time that both ends spent on it, in ms: its latency without the link."""
        return 1000 * (self.encoded - self.captured + self.answered - self.received)


@dataclass(frozen=True)
class Traffic:
    """All that a loopback saw."""

    fps: float
    captured: int
    """Frames."""
    skipped: int
    """Frames that were not encoded because those before them still waited."""
    passages: tuple[Passage, ...]
    """Of the other frames, in order."""

    def summary(self, late: float = math.inf) -> Measured:
        """Return counts, rates and percentiles; an answer after more than `late` ms is too late."""
        latencies = [passage.latency for passage in self.passages]
        seconds = self.captured / self.fps
        return Measured(
            captured=self.captured, skipped=self.skipped, answered=len(self.passages),
            late=sum(latency > late for latency in latencies), faces=sum(passage.faces for passage in self.passages),
            kbps=sum(passage.bits for passage in self.passages) / seconds / 1000,
            wire_kbps=sum(passage.wire_bits for passage in self.passages) / seconds / 1000,
            latency_p50=_percentile(latencies, 50), latency_p95=_percentile(latencies, 95),
            latency_max=max(latencies, default=None),
            computing_p95=_percentile([passage.computing for passage in self.passages], 95),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measured(Record):
    """A summary of `Traffic`: frames, kbit/s over the time of the video, latencies and computing in ms."""

    captured: int
    skipped: int
    answered: int
    late: int
    faces: int
    kbps: float
    wire_kbps: float
    latency_p50: float | None
    latency_p95: float | None
    latency_max: float | None
    computing_p95: float | None


def _percentile(values: list[float], percent: int) -> float | None:
    if len(values) < 2:
        return values[0] if values else None
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def loop_back(
    frames: Iterable[Image],
    point: OperatingPoint,
    kbps: float,
    *,
    prepare: Prepare,
    answer: Answer,
    patience: float = 1.0,
    timeout: float = 10.0,
) -> Traffic:
    """Send frames, captured `point.fps` times a second, over a link to a receiver that answers each.

    `prepare` and `answer` are the work of the robot and of the other end, without coding. A frame that has waited for
    `patience` seconds is skipped; after `timeout` seconds of silence the connection counts as broken.
    """
    _require_possible(point, kbps)
    sender = _Sender(frames, prepare, point, kbps, patience)
    decoder = LiveDecoder(point.width, point.height, codec=point.codec)
    arrivals: list[dict[str, Any]] = []  # fields of passages
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(timeout)
        outgoing = stack.enter_context(socket.create_connection(server.getsockname(), timeout))
        incoming = stack.enter_context(server.accept()[0])
        incoming.settimeout(timeout)
        stack.enter_context(sender.sending(outgoing))
        for index, packet in _messages(incoming):
            received = time.perf_counter()
            image = decoder(packet) if packet else None
            decoded = time.perf_counter()
            faces = answer(None if image is None else Frame(index, index / point.fps, image, 8.0 * len(packet)))
            times = {"received": received, "decoded": decoded, "answered": time.perf_counter()}
            arrivals.append({name: at - sender.start for name, at in times.items()} | {"faces": faces})
    passages = (replace(sent, **arrival) for sent, arrival in zip(sender.sent, arrivals, strict=True))
    return Traffic(point.fps, sender.captured, sender.skipped, tuple(passages))


def _require_possible(point: OperatingPoint, kbps: float) -> None:
    find_live_codec(point.codec, point.qp)
    if not (math.isfinite(kbps) and kbps >= point.wire_kbps):
        hint = f"{point.name} takes {point.wire_kbps:.4g} kbit/s with packet headers"
        raise DataError("the link does not carry the point", code="out-of-range", field="kbps", value=kbps, hint=hint)


def last_bit(bits: float, kbps: float, now: float, free: float) -> float:
    """Return when the last bit leaves a link that is free from a time on; times in seconds."""
    return max(now, free) + bits / (1000 * kbps)


class _Sender:
    """Captures, encodes and sends in threads of its own; `sent` frames have not arrived yet."""

    def __init__(
        self, frames: Iterable[Image], prepare: Prepare, point: OperatingPoint, kbps: float, patience: float
    ) -> None:
        self._frames, self._prepare, self._point, self._kbps, self._patience = frames, prepare, point, kbps, patience
        self._encoder = LiveEncoder(point.width, point.height, fps=point.fps, codec=point.codec, qp=point.qp)
        self._stop = threading.Event()
        self.captured, self.skipped, self.start = 0, 0, 0.0
        self.sent: list[Passage] = []

    @contextmanager
    def sending(self, connection: socket.socket) -> Iterator[None]:
        """Send frames in a thread until the block ends; raise the sender's error at its end."""
        with ThreadPoolExecutor(1, "sender") as pool:
            sending = pool.submit(self._send, connection)
            try:
                yield
            except BaseException:  # the receiver failed or was interrupted
                self._stop.set()
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                raise
            sending.result()

    def _send(self, connection: socket.socket) -> None:
        try:
            with Ahead(self._coded(), _WAITING) as coming:
                for due, packet, passage in coming:
                    self._wait(due)
                    if self._stop.is_set():
                        return
                    self.sent.append(replace(passage, sent=time.perf_counter() - self.start))
                    connection.sendall(_HEADER.pack(passage.index, len(packet)) + packet)
        finally:
            with suppress(OSError):  # tells the receiver that this was all
                connection.shutdown(socket.SHUT_WR)

    def _coded(self) -> Iterator[tuple[float, bytes, Passage]]:
        """Yield when the last bit of each frame leaves the link, its packet, and its way so far."""
        free = 0.0
        for index, image in enumerate(self._frames):
            if index == 0:
                self.start = time.perf_counter()
            captured = self.start + index / self._point.fps
            self._wait(captured)
            if self._stop.is_set():
                return
            self.captured += 1
            if max(time.perf_counter(), free) - captured > self._patience:
                self.skipped += 1
                continue
            small = self._prepare(image)
            packet = b"" if small is None else self._encoder(np.ascontiguousarray(small))
            encoded, bits = time.perf_counter(), 8 * len(packet)
            free = last_bit(wire_bits(bits), self._kbps, encoded, free)
            yield free, packet, Passage(
                index=index, captured=captured - self.start, encoded=encoded - self.start, bits=bits,
                wire_bits=wire_bits(bits),
            )  # fmt: skip

    def _wait(self, until: float) -> None:
        self._stop.wait(max(0.0, until - time.perf_counter()))


def _messages(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield frames' numbers and packets until the sender ends."""
    with connection.makefile("rb") as stream:
        while header := stream.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise ConnectionError("the sender broke off within a frame")
            index, size = _HEADER.unpack(header)
            packet = stream.read(size)
            if len(packet) < size:
                raise ConnectionError("the sender broke off within a frame")
            yield index, packet
