"""The newest message of each name, and a way to wait until all that is needed has come."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from robostack.core import clock


class Letter(NamedTuple):
    """One message as it arrived."""

    message: Any
    received: float  # s, this machine's steady clock
    count: int  # how many of this name have come


class Mailbox:
    """Owns the newest letters. One thread puts, any thread reads and one may wait."""

    def __init__(self):
        self._letters: dict[str, Letter] = {}
        self._condition = threading.Condition()
        self._missing: Callable[[], list[str]] | None = None

    def put(self, name: str, message: Any) -> None:
        with self._condition:
            self._letters[name] = Letter(message, clock.now(), self.count(name) + 1)
            # The waiting thread wakes once, when all is there, not for each message.
            if self._missing and not self._missing():
                self._condition.notify_all()

    def forget(self, name: str) -> None:
        """As if nothing of this name had come."""
        with self._condition:
            self._letters.pop(name, None)

    def get(self, name: str) -> Letter | None:
        return self._letters.get(name)

    def newest(self, name: str) -> Any:
        """The newest message of a name that has come."""
        return self._letters[name].message

    def count(self, name: str) -> int:
        """How many letters of this name have come."""
        letter = self._letters.get(name)
        return letter.count if letter else 0

    def counts(self) -> dict[str, int]:
        return {name: letter.count for name, letter in self._letters.copy().items()}

    def wait_for(self, missing: Callable[[], list[str]], timeout: float) -> list[str]:
        """Waits, s, until `missing()` is empty; returns what is missing still."""
        deadline = clock.now() + timeout
        with self._condition:
            self._missing = missing
            try:
                while (left := missing()) and (rest := deadline - clock.now()) > 0:
                    self._condition.wait(rest)
            finally:
                self._missing = None
        return left
