"""How much may be in flight, and how long to wait before the next attempt."""

import secrets
from collections.abc import Callable
from typing import NamedTuple

QUICK_S, SLOW_S = (
    0.5,
    2.0,
)  # s from sending to acknowledgement below and above which the window changes
SMALLEST, FIRST, LARGEST = 1 << 16, 1 << 18, 1 << 23  # bytes of the window
PIECES = 8  # in a full window


class _Flying(NamedTuple):
    name: str
    end: int
    count: int
    when: float


class Window:
    """Owns the bound on unacknowledged bytes: what the path takes in about two seconds.

    More would hide signs of life behind data on a slow path, and both sides would think the other dead.
    """

    def __init__(self):
        self.size = FIRST
        self._flying: list[_Flying] = []
        self._in_flight = 0
        self._shrunk = -float("inf")

    @property
    def piece(self) -> int:
        """Most bytes of the next piece, 0 while the window is full."""
        largest = min(self.size // PIECES, 1 << 20)
        return largest if self._in_flight + largest <= self.size else 0

    def sent(self, name: str, end: int, count: int, now: float) -> None:
        """`count` bytes of `name` left, up to its byte `end`."""
        self._flying.append(_Flying(name, end, count, now))
        self._in_flight += count

    def acknowledged(self, name: str, received: int, now: float) -> None:
        """All up to byte `received` has come. Doubles in each quick round, halves after a slow one."""
        for piece in self._take(lambda piece: piece.name == name and piece.end <= received):
            if now - piece.when < QUICK_S:
                self.size = min(LARGEST, self.size + piece.count)
            elif now - piece.when > SLOW_S and piece.when > self._shrunk:
                self.size, self._shrunk = max(SMALLEST, self.size // 2), now

    def dropped(self, name: str) -> None:
        """The other side takes nothing more of `name`."""
        self._take(lambda piece: piece.name == name)

    def _take(self, is_meant: Callable[[_Flying], bool]) -> list[_Flying]:
        taken = [piece for piece in self._flying if is_meant(piece)]
        self._flying = [piece for piece in self._flying if not is_meant(piece)]
        self._in_flight -= sum(piece.count for piece in taken)
        return taken


class Backoff:
    """Owns the wait between attempts: doubling, with jitter so that many actors do not come back at once."""

    def __init__(self, first: float = 0.1, longest: float = 2.0):
        self._first, self._longest = first, longest
        self._next = first

    def reset(self) -> None:
        self._next = self._first

    def next(self) -> float:
        """s, between half of what is due and all of it."""
        due, self._next = self._next, min(self._longest, 2 * self._next)
        return due * (0.5 + secrets.randbelow(501) / 1000)
