"""How much memory something will take, and whether this machine has it."""

from dataclasses import dataclass
from pathlib import Path

from robostack.core.errors import Unavailable

SHARE = 0.9  # of what is free that may be taken; the rest is for everybody else
_MEMINFO, _GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Need:
    """What `what` will take, in bytes, by part."""

    what: str
    parts: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size / 1e9:.2f} GB" for name, size in self.parts.items())
        return f"{self.what} takes {self.total / 1e9:.2f} GB ({parts})"

    def require(self, remedy: str, free: float | None = None) -> None:
        """Raises Unavailable, with the numbers, where it does not fit. `free`: bytes, for a test."""
        free = available() if free is None else free
        if self.total > SHARE * free:
            raise Unavailable(
                f"{self}, {free / 1e9:.2f} GB are free and {SHARE:.0%} of them may be taken; {remedy}"
            )


def available() -> float:
    """Bytes that a process here may still take: the machine's, or its control group's where that is less."""
    found = [_of_machine(), _of_group()]
    return min(size for size in found if size is not None) if any(found) else float("inf")


def _of_machine() -> float | None:
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    except OSError:  # no Linux: nothing is known, nothing refused
        return None
    return None


def _of_group() -> float | None:
    try:
        limit = (_GROUP / "memory.max").read_text().strip()
        used = (_GROUP / "memory.current").read_text()
    except OSError:
        return None
    return None if limit == "max" else max(0.0, float(limit) - float(used))
