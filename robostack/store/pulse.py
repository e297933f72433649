"""Signs of life: a byte in a pipe, five times a second, from a process's main loop to whoever started it.

A pipe, since it needs no clock that both agree on, no disk that could be full, and ends with its processes.
"""

import os
import stat
import threading
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from robostack.core import clock

PERIOD_S = 0.2  # s between two beats
LONGEST_LOOK_S = 1.0  # s; a supervisor that was away itself has seen no more silence than this
VARIABLE = (
    "ROBOSTACK_PULSE"  # "<descriptor>:<inode>" of the pipe that a supervised process inherits
)

_last = -float("inf")  # s, steady clock, of this process's newest beat


def beat() -> None:
    """Says that the main loop turns; call it as often as you like. From another thread it says nothing."""
    global _last
    if (now := clock.now()) - _last < PERIOD_S:
        return
    if threading.current_thread() is not threading.main_thread():
        return  # it would beat on while the main loop hangs
    _last = now
    if (pipe := _pipe()) is not None:
        with suppress(OSError):  # full or closed: nobody listens
            os.write(pipe, b".")


@cache
def _pipe() -> int | None:
    """Our end, or None where nobody supervises. A grandchild inherits the variable and not the pipe: so the inode."""
    number, _, inode = os.environ.get(VARIABLE, "").partition(":")
    with suppress(OSError, ValueError):
        found = os.fstat(int(number))
        if stat.S_ISFIFO(found.st_mode) and found.st_ino == int(inode):
            return int(number)
    return None


class Patience(NamedTuple):
    """s of silence that a process is allowed."""

    first: float  # until its first beat: imports, compiling, reading what is there
    later: float  # from then on


LEARNER = Patience(first=600.0, later=300.0)  # it compiles without a beat


class Pulse:
    """Owns the supervisor's end of one process's pipe, and counts its silence."""

    def __init__(self, patience: Patience):
        self._patience, self._limit = patience, patience.first
        self._in, self.out = os.pipe()  # `out` is for the process; give it on, then release()
        for end in (self._in, self.out):
            os.set_blocking(end, False)
        self._silence, self._looked = 0.0, clock.now()

    @property
    def variable(self) -> dict[str, str]:
        """For the process's environment."""
        return {VARIABLE: f"{self.out}:{os.fstat(self.out).st_ino}"}

    def release(self) -> None:
        """Closes the process's end here; may be called twice."""
        if self.out >= 0:
            os.close(self.out)
        self.out = -1

    def overdue(self) -> float:
        """s of silence, where they are more than allowed, else 0."""
        now = clock.now()
        # A machine or a container that was put to sleep sleeps with all its processes.
        self._silence += min(now - self._looked, LONGEST_LOOK_S)
        self._looked = now
        with suppress(BlockingIOError):
            if os.read(self._in, 65536):
                self._silence, self._limit = 0.0, self._patience.later
        return self._silence if self._silence > self._limit else 0.0

    def close(self) -> None:
        """May be called twice."""
        self.release()
        if self._in >= 0:
            os.close(self._in)
        self._in = -1
