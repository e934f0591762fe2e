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
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from statistics import quantiles

import numpy as np

from caffe_compat.errors import DataError
from lq_emotion.common.ahead import Ahead
from lq_emotion.common.records import Record
from lq_emotion.studies.cloud_robotics.link.choice import Pacer, wire_bits, wire_kbps
from lq_emotion.studies.cloud_robotics.link.table import OperatingPoint
from lq_emotion.video.frames import Frame, Image
from lq_emotion.video.live import LiveDecoder, LiveEncoder, find_live_codec

Prepare = Callable[[Image], Image | None]
"""From a captured frame to the image to send, of the point's size; None sends that there is no face."""
Answer = Callable[[Frame | None], int]
"""Estimates what it can about a decoded frame, or about one without a face; returns the number of faces."""
_HEADER = struct.Struct(">II")  # number of the frame, bytes of its packet; in place of RTP's
_WAITING = 256  # coded frames between encoder and socket


@dataclass(frozen=True)
class Passage(Record):
    """The way of a frame; times in seconds since the first was captured.

    Attributes
    ----------
    index : index of the frame.
    captured, encoded, sent, received, decoded, answered : when it was; `sent` is when its last bit left the link.
    bits, wire_bits : bits of its packet, without and with the headers of the link.
    faces : estimated.
    """

    index: int
    captured: float
    encoded: float
    sent: float
    received: float
    decoded: float
    answered: float
    bits: int
    wire_bits: float
    faces: int

    @property
    def latency(self) -> float:
        """From capture to answer, in ms."""
        return 1000 * (self.answered - self.captured)

    @property
    def computing(self) -> float:
        """What both ends spent on it, in ms: its latency without the link."""
        return 1000 * (self.encoded - self.captured + self.answered - self.received)


@dataclass(frozen=True)
class Traffic:
    """All that a loopback saw.

    Attributes
    ----------
    fps : fps of the frames captured.
    captured, skipped : frames, and those that were not encoded because those before them still waited.
    passages : passages of the other frames, in order.
    """

    fps: float
    captured: int
    skipped: int
    passages: tuple[Passage, ...]

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
    """Send frames over a link of a bandwidth to a receiver that answers each.

    Parameters
    ----------
    frames : captured `point.fps` times a second, (H, W, 3) uint8, red first.
    point : how to send.
    kbps : bandwidth, in 1000 bits per second.
    prepare, answer : the work of the robot and of the other end, without coding.
    patience : seconds of waiting after which a frame is skipped.
    timeout : seconds of silence after which the connection counts as broken.

    Raises
    ------
    DataError
        The bandwidth does not carry the point, its codec holds frames back, or a frame cannot be coded.
    OSError
        The connection broke.
    """
    _require_possible(point, kbps)
    sender = _Sender(frames, prepare, point, Pacer(kbps), patience)
    decoder = LiveDecoder(point.width, point.height, codec=point.codec)
    arrivals: list[_Arrival] = []
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
            arrivals.append(_Arrival(received, decoded, time.perf_counter(), faces))
    return sender.traffic(arrivals)


def _require_possible(point: OperatingPoint, kbps: float) -> None:
    find_live_codec(point.codec, point.qp)
    if not (math.isfinite(kbps) and kbps >= wire_kbps(point)):
        hint = f"{point.name} takes {wire_kbps(point):.4g} kbit/s with packet headers"
        raise DataError("the link does not carry the point", code="out-of-range", field="kbps", value=kbps, hint=hint)


@dataclass(frozen=True)
class _Coded:
    """A frame on its way to the socket; `due` is when its last bit leaves the link."""

    index: int
    captured: float
    encoded: float
    due: float
    packet: bytes = field(repr=False)

    @property
    def wire_bits(self) -> float:
        return wire_bits(8 * len(self.packet))


@dataclass(frozen=True)
class _Arrival:
    received: float
    decoded: float
    answered: float
    faces: int


class _Sender:
    """Captures, encodes and sends in threads of its own."""

    def __init__(
        self, frames: Iterable[Image], prepare: Prepare, point: OperatingPoint, pacer: Pacer, patience: float
    ) -> None:
        self._frames, self._prepare, self._point, self._pacer, self._patience = frames, prepare, point, pacer, patience
        self._encoder = LiveEncoder(point.width, point.height, fps=point.fps, codec=point.codec, qp=point.qp)
        self._stop = threading.Event()
        self._captured, self._skipped, self._start = 0, 0, 0.0
        self._sent: list[tuple[_Coded, float]] = []

    def sending(self, connection: socket.socket) -> _Sending:
        """Return the block during which frames are sent; it raises the sender's error at its end."""
        return _Sending(self._send, connection, self._stop)

    def traffic(self, arrivals: list[_Arrival]) -> Traffic:
        """Return what was sent, joined with what arrived, in order."""
        rows = []
        for (coded, sent), arrival in zip(self._sent, arrivals, strict=True):
            start = self._start
            rows.append(
                Passage(
                    index=coded.index, captured=coded.captured - start, encoded=coded.encoded - start,
                    sent=sent - start, received=arrival.received - start, decoded=arrival.decoded - start,
                    answered=arrival.answered - start, bits=8 * len(coded.packet), wire_bits=coded.wire_bits,
                    faces=arrival.faces,
                )
            )  # fmt: skip
        return Traffic(self._point.fps, self._captured, self._skipped, tuple(rows))

    def _send(self, connection: socket.socket) -> None:
        with Ahead(self._coded(), _WAITING) as coming:
            for coded in coming:
                self._wait(coded.due)
                if self._stop.is_set():
                    return
                self._sent.append((coded, time.perf_counter()))
                connection.sendall(_HEADER.pack(coded.index, len(coded.packet)) + coded.packet)

    def _coded(self) -> Iterator[_Coded]:
        for index, image in enumerate(self._frames):
            if index == 0:
                self._start = time.perf_counter()
            captured = self._start + index / self._point.fps
            self._wait(captured)
            if self._stop.is_set():
                return
            self._captured += 1
            if max(time.perf_counter(), self._pacer.free) - captured > self._patience:
                self._skipped += 1
                continue
            small = self._prepare(image)
            packet = b"" if small is None else self._encoder(np.ascontiguousarray(small))
            encoded = time.perf_counter()
            yield _Coded(index, captured, encoded, self._pacer.send(wire_bits(8 * len(packet)), encoded), packet)

    def _wait(self, until: float) -> None:
        self._stop.wait(max(0.0, until - time.perf_counter()))


class _Sending:
    """A thread that writes to a connection; the block's end stops it and raises its error."""

    def __init__(self, send: Callable[[socket.socket], None], connection: socket.socket, stop: threading.Event) -> None:
        self._send, self._connection, self._stop = send, connection, stop
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:  # the receiver failed or was interrupted
            self._stop.set()
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def _run(self) -> None:
        try:
            self._send(self._connection)
        except BaseException as error:  # noqa: BLE001  (raised in the other thread)
            self._error = error
        with suppress(OSError):  # tells the receiver that this was all
            self._connection.shutdown(socket.SHUT_WR)


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
