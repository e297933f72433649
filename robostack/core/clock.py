"""The only file that reads the time. Ticks at absolute deadlines; lateness is measured, never hidden."""

import time
from datetime import UTC, datetime


def now() -> float:
    """Seconds on this machine's steady clock."""
    return time.monotonic()


def wall_time() -> str:
    """Now, ISO 8601 UTC, for headers and logs."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def sleep(seconds: float) -> None:
    """For waiting outside a tick: start-up, polling a folder."""
    time.sleep(max(0.0, seconds))


class Ticker:
    """Owns the deadlines of a control loop. With `period=None` it never waits: the plant sets the pace (lockstep)."""

    def __init__(self, period: float | None):
        self._period = period
        self._deadline: float | None = None

    def start(self) -> None:
        """The first tick is due now; an episode that waited for its reset begins without debt."""
        self._deadline = now()

    def wait(self) -> float:
        """Blocks until the next tick and returns how late it came, in s (0 in lockstep)."""
        if self._period is None:
            return 0.0
        if self._deadline is None:
            self.start()
        assert self._deadline is not None
        if (rest := self._deadline - now()) > 0:
            time.sleep(rest)
        lateness = max(0.0, now() - self._deadline)
        # A missed tick is skipped, not caught up with: two commands in a row would be a jump.
        self._deadline += self._period * (1 + int(lateness / self._period))
        return lateness
