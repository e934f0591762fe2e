"""The frames of a video: a file, a stream, or what comes through a pipe. Decoded by PyAV."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np

from caffe_compat.errors import CaffeCompatError, DataError, FileError
from caffe_compat.formats.regular_file import require_regular
from lq_emotion.video.encode import load_av
from lq_emotion.video.frames import Frame, Image, Selection
from matlab_ports.imread import MAX_PIXELS

PIPE = "pipe:0"  # stdin
_PIPED = "an MP4 that is piped must be written for streaming, with -movflags frag_keyframe, or use Matroska"
_ASSUMED_RATE = 25.0  # of raw streams that state neither times nor a rate
_LIVE = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt")
_LOST = 1.5  # frames that may be missing at the end before a file counts as truncated: measured, at most 0.1
_ROUNDING = 0.01  # seconds by which containers round
_ESTIMATED = (1.0, 0.02)  # seconds and part that may be missing where the length or that of a frame is estimated
_MISPLACED = 4  # frames: AVI and MPEG do not state all times, and those that FFmpeg adds go back by up to 3
_STEPS = 10  # such a frame is shown a tenth of a frame after the one before
_TAG = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")  # Matroska's DURATION


class Video:
    """A video, given by path, URL, or `PIPE`; see `frames.Source`.

    Times increase: where those of the stream go back by a few frames, as with AVI and MPEG, a frame follows the one
    before by a tenth of a frame; by more, the video ends there, with a problem. A stream that is silent for `timeout`
    seconds counts as stalled; files and pipes are waited for.
    """

    def __init__(self, address: str, selection: Selection | None = None, *, timeout: float = 10.0) -> None:
        self._selection = selection or Selection()
        self._is_file = "://" not in address and address != PIPE
        self.name = Path(address).name if self._is_file else "stdin" if address == PIPE else _without_password(address)
        self.live = address.partition("://")[0].lower() in _LIVE
        self.problem: CaffeCompatError | None = None
        self._file = address if self._is_file else self.name
        self._timeout = timeout
        self._av = load_av()
        self._container = self._open(address)
        try:
            self._stream = self._video_stream()
        except BaseException:
            self._container.close()
            raise
        self.rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        self.clock, self.count = "container", self._expected_count()
        self._states_times = self._container.format.name != "avi"  # which counts frames
        self._number = -1  # of the frame decoded last
        self._fed: list[int] = []  # heap of the times of packets whose frames have not come out yet
        self._resumes = True  # whether frames may be missing before the next one: at the start, and after an error
        self._lost, self._first_lost = 0, 0.0  # frames, and the time of the last one before them
        self._first, self._last = math.nan, -math.inf  # times of frames
        self._shown = 0.0  # seconds for which the last frame is shown, as far as its packet states it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        selection, until, ended = self._selection, self._selection.until, False
        try:
            for decoded in self._decoded():
                number, time = self._place(decoded)
                if time > until:
                    ended = True
                    break
                pace = self._pace()
                if time < self._last - (_MISPLACED * pace if self._states_times else math.inf):
                    self.problem = self._turned_back(time)
                    break
                self._first = time if math.isnan(self._first) else self._first
                self._last = time if time > self._last else self._last + (pace or 0.01) / _STEPS
                duration = getattr(decoded, "duration", None)
                self._shown = float(duration * decoded.time_base) if duration and decoded.time_base else 0.0
                if number % selection.every == 0 and self._last >= selection.start:
                    bits = decoded.opaque[0] if decoded.opaque else math.nan
                    yield Frame(number, self._last, _upright(decoded), float(bits))
        except Exception as error:  # noqa: BLE001  (a damaged stream makes PyAV raise others than its own: IndexError)
            self.problem = self._stopped(error)
        if self.problem is None and not ended:
            self.problem = self._incomplete()

    def _pace(self) -> float:
        """Return the seconds between frames: what the container states, or their mean so far; AVI may state 1 ms."""
        mean = (self._last - self._first) / self._number if self._number > 0 and math.isfinite(self._last) else 0.0
        return max(1 / self.rate if self.rate else 0.0, mean)

    def _open(self, address: str) -> Any:
        if self._is_file:
            require_regular(Path(address))
        options = {"rtsp_transport": "tcp"} if address.lower().startswith("rtsp") else {}
        timeout = None if self._is_file or address == PIPE else (self._timeout, self._timeout)
        try:
            return self._av.open(address, options=options, timeout=timeout, metadata_errors="ignore")
        except FileNotFoundError:
            raise FileError("no such file", code="file-missing", file=self._file) from None
        except (self._av.FFmpegError, OSError, ValueError) as error:
            problem = f"cannot be read as a video: {_reason(error)}"
            if self._is_file:
                raise FileError(problem, code="damaged-file", file=self._file, hint="copy it again") from None
            hint = _PIPED if address == PIPE else f"no answer within {self._timeout:g} s counts as none"
            raise DataError(problem, code="file-unreadable", field="source", value=self.name, hint=hint) from None

    def _video_stream(self) -> Any:
        if not self._container.streams.video:
            raise FileError("has no video stream", code="wrong-format", file=self._file)
        stream = self._container.streams.video[0]
        context = stream.codec_context
        if context is None:
            raise FileError(
                "no decoder is available for its codec", code="unsupported", file=self._file, hint="convert it to H.264"
            )
        context.options = {"max_pixels": str(MAX_PIXELS)}
        context.flags |= self._av.codec.context.Flags.copy_opaque  # carries the packet's size to its frame
        stream.thread_type = "SLICE" if self.live else "AUTO"  # threads by frame delay the picture
        return stream

    def _expected_count(self) -> int | None:
        seconds = self._duration()
        if seconds is None or not self.rate:
            return None
        seconds = min(seconds, self._selection.until) - self._selection.start
        return max(0, math.ceil(seconds * self.rate / self._selection.every))

    def _duration(self) -> float | None:
        """Return the length that the file states, in seconds."""
        stream, container = self._stream, self._container
        start = 0 if container.start_time is None else container.start_time
        if (tag := _TAG.fullmatch(stream.metadata.get("DURATION", ""))) and stream.time_base is not None:
            states = int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])  # when the stream ends
            return round(states - float((stream.start_time or 0) * stream.time_base), 6)
        if stream.duration is not None and stream.time_base is not None:
            late = float(start) / float(self._av.time_base) if container.format.name == "asf" else 0.0
            return float(stream.duration * stream.time_base) - late  # ASF, too, states when it ends
        if container.duration is not None and len(container.streams) == 1:
            return float(container.duration - start) / float(self._av.time_base)  # Matroska states when it ends
        return None

    def _decoded(self) -> Iterator[Any]:
        """Yield decoded frames; those that cannot be decoded are left out."""
        packets = self._container.demux(self._stream)
        for packet in self._from_key_frame(packets) if self._selection.start else packets:
            packet.opaque = [8 * packet.size]  # PyAV keeps it by its id, which small integers share
            if packet.pts is not None and not packet.is_discard:  # an edit list hides frames
                heappush(self._fed, packet.pts)
            try:
                frames = packet.decode()
            except self._av.error.InvalidDataError:
                self._note_damage()
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._note_damage()
                else:
                    yield frame

    def _note_damage(self) -> None:
        if not self._lost:
            self._first_lost = max(self._last, 0.0)
        self._lost += 1
        self._resumes = True

    def _from_key_frame(self, packets: Iterator[Any]) -> Iterator[Any]:
        """Yield the packets from the last key frame before the start; those before it are counted, not decoded."""
        held: list[Any] = []
        for packet in packets:
            late = packet.pts is None or self._seconds(packet.pts) > self._selection.start
            if packet.is_keyframe and not late:
                self._number += sum(not before.is_discard for before in held)
                held.clear()
            held.append(packet)
            if late:
                break
        yield from held
        held.clear()
        yield from packets

    def _seconds(self, ticks: int) -> float:
        return float((ticks - (self._stream.start_time or 0)) * self._stream.time_base)

    def _place(self, frame: Any) -> tuple[int, float]:
        """Return the number and the time of a frame."""
        missing = 0
        while frame.pts is not None and self._fed and self._fed[0] <= frame.pts:
            missing += heappop(self._fed) < frame.pts
        # at other times, a packet without a frame contains something else: VP8's hidden reference pictures
        self._number += 1 + (missing if self._resumes else 0)
        self._resumes = self._lost > 0
        if frame.pts is None and self.clock == "container":
            self.rate = self.rate or _ASSUMED_RATE
            self.clock = f"index / {self.rate:g}"
        return self._number, self._number / self.rate if self.clock != "container" else self._seconds(frame.pts)

    def _stopped(self, error: Exception) -> CaffeCompatError:
        after = f"after {self._last:.2f} s" if math.isfinite(self._last) else "before its first frame"
        if self._is_file:
            problem, hint = f"is damaged {after}: {_reason(error)}", "what comes before is complete"
            return FileError(problem, code="damaged-file", file=self._file, hint=hint)
        stalled = isinstance(error, self._av.error.ExitError | TimeoutError)
        problem = f"sent nothing for {self._timeout:g} s {after}" if stalled else f"ended {after}: {_reason(error)}"
        piped = self.name == "stdin" and not math.isfinite(self._last)
        return DataError(problem, code="interrupted", field="source", value=self.name, hint=_PIPED if piped else None)

    def _incomplete(self) -> CaffeCompatError | None:
        """Return what is missing in a video that ended without an error."""
        if math.isfinite(self._last) and self._last < self._selection.start:
            problem = f"is after the last frame ({self._last:.2f} s)"
            return DataError(problem, code="out-of-range", field="start", value=self._selection.start)
        if self._lost:
            problem = f"is damaged from {self._first_lost:.2f} s on: at least {self._lost} of its frames left out"
            return FileError(problem, code="damaged-file", file=self._file)
        if self._number < 0 and not self._selection.start:
            return FileError("contains no frame that can be decoded", code="damaged-file", file=self._file)
        expected = self._duration() if self._is_file else None
        if expected is None or not math.isfinite(self._last) or self._selection.start > expected:
            return None
        shown = max(self._shown, self._pace())
        seconds = self._last + shown
        missing = min(expected, self._selection.until) - seconds
        exact = self.clock == "container" and self._number > 0
        least, part = _ESTIMATED
        if missing <= (_LOST * shown + _ROUNDING if exact else max(least, part * expected)):
            return None
        problem = f"is truncated: it ends after {seconds:.2f} of {expected:.2f} s"
        return FileError(problem, code="damaged-file", file=self._file, hint="what comes before is complete")

    def _turned_back(self, time: float) -> CaffeCompatError:
        problem = f"its times go back from {self._last:.2f} to {time:.2f} s, as in joined files: the rest is left out"
        if self._is_file:
            hint = "split it there and name the parts one by one"
            return FileError(problem, code="damaged-file", file=self._file, hint=hint)
        return DataError(problem, code="interrupted", field="source", value=self.name)


def read_frames(path: Path, count: int | None = None) -> Iterator[Frame]:
    """Yield the frames of a file, at most `count`, each (H, W, 3) upright; then raise a problem of the file, if any."""
    with Video(str(path)) as video:
        yield from islice(video, count)
        if video.problem is not None:
            raise video.problem


def _without_password(url: str) -> str:
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _upright(frame: Any) -> Image:
    """Return the pixels turned as the container states: phones store the picture on its side."""
    image: Image = frame.to_ndarray(format="rgb24")
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image
