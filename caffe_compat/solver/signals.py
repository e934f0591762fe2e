"""Handle SIGINT (Ctrl-C) and SIGHUP in a running solver as Caffe's binary does.

Facts from BVLC Caffe 9b89154, util/signal_handler.cpp: a signal is remembered and acted on after the iteration at hand;
by default SIGINT stops (with a last snapshot) and SIGHUP snapshots; SIGHUP goes first where both came.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from enum import Enum
from types import FrameType, TracebackType
from typing import Any


class Action(Enum):
    """A request to a running solver."""

    NONE = "none"
    STOP = "stop"
    SNAPSHOT = "snapshot"


class SignalActions:
    """Turns signals into requests within a context; calling it returns the next request."""

    def __init__(self, sigint: Action = Action.STOP, sighup: Action = Action.SNAPSHOT) -> None:
        self._effects = {signal.SIGHUP: sighup} if hasattr(signal, "SIGHUP") else {}  # POSIX has it
        self._effects[signal.SIGINT] = sigint
        self._came = dict.fromkeys(self._effects, False)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Callable[[], Action]:
        for number in self._effects:
            self._before[number] = signal.signal(number, self._remember)
        return self._take

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._came[signal.Signals(number)] = True

    def _take(self) -> Action:
        for number, effect in self._effects.items():
            if self._came[number]:
                self._came[number] = False
                return effect
        return Action.NONE
