"""Ctrl-C at any moment ends a program quietly, also while JAX is imported or tidies up: there an exception is lost."""

import os
import signal
import threading
from collections.abc import Iterable
from types import FrameType

INTERRUPTED = 130  # exit status, as shells have it
AGAIN_S = 0.01
_SWALLOWS = (
    "_xla_gc_callback"  # JAX's; what is raised in it is printed as "ignored", and nothing ends
)


def leave_at_once(*numbers: signal.Signals) -> None:
    """For the time in which nothing is begun yet: these signals end the process without a word."""
    for number in _wanted(numbers):
        signal.signal(number, lambda *_: os._exit(INTERRUPTED))


def raise_interrupt(*numbers: signal.Signals) -> None:
    """From now on these signals raise KeyboardInterrupt, where somebody can catch it."""
    for number in _wanted(numbers):
        signal.signal(number, _interrupt)


def _wanted(numbers: Iterable[signal.Signals]) -> list[signal.Signals]:
    """Less those that whoever started us wants ignored, as nohup does."""
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_name == _SWALLOWS:
            threading.Timer(AGAIN_S, os.kill, (os.getpid(), number)).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt
