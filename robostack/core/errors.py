"""Errors a user can mend: each says what, got, expected and what to do, on one line."""

from collections.abc import Iterable


class RobostackError(Exception):
    """The one line a door prints before it exits with status 2."""

    def __init__(self, line: str):
        # What it quotes may come from a file or another machine: no second line, no escape to the terminal.
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))


class UnknownName(RobostackError):
    """A name that is in no catalog; lists the names that are."""

    def __init__(self, kind: str, got: str, valid: Iterable[str], where: str = ""):
        names = ", ".join(sorted(valid)) or "(none)"
        super().__init__(
            f'no {kind} "{got}"; there are: {names}' + (f" ({where})" if where else "")
        )


class BadValue(RobostackError):
    """A value outside what its field allows."""


def require(is_met: bool, name: str, got: object, expected: str) -> None:
    """Raises BadValue unless `is_met`: "steps is 0, expected at least 1"."""
    if not is_met:
        raise BadValue(f"{name} is {got}, expected {expected}")


class SpecMismatch(RobostackError):
    """Two specs that should be equal are not; carries the differences."""


class StaleSample(RobostackError):
    """A sample older than its allowed age, or one that never came."""


class PlantFault(RobostackError):
    """The cell reports a fault or has gone; only a person clears it."""


class Unavailable(RobostackError):
    """Something the machine lacks (a library, a port, room on the disk), with the command that mends it."""
