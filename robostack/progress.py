"""What an actor tells the outside while it works: the terminal view, the report, whoever looks into the folder."""

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robostack.core import clock
from robostack.core.errors import RobostackError
from robostack.store.run import read_json
from robostack.store.tell import Teller


@dataclass
class Progress:
    """What the actor tells the outside, about twice a second, in actor.json."""

    path: Path
    phase: str = "starting"
    episodes: int = 0
    steps: int = 0  # of practice and checks
    successes: list[bool] = field(default_factory=list)  # practice and checks
    unaided: list[bool] = field(default_factory=list)  # episodes in which the person did not act
    person_steps: list[float] = field(default_factory=list)  # share of steps, per practice episode
    lateness: deque[float] = field(
        default_factory=lambda: deque(maxlen=1000)
    )  # s, the newest ticks
    checks: list[dict] = field(default_factory=list)
    evaluated: list[bool] = field(default_factory=list)
    _training: float = 0.0  # s of training before the clock was started
    _since: float | None = None  # when it was; None while it stands
    _written: float = 0.0

    def __post_init__(self):
        self._teller = Teller(self.path)

    @property
    def training_seconds(self) -> float:
        """From the first demonstration to the chosen version, as long as an actor was at work."""
        return self._training + (0.0 if self._since is None else clock.now() - self._since)

    def recall_time(self) -> None:
        """The time of training that an actor before this one left in actor.json counts too."""
        # The file is not durable: after a power cut it may be empty, and a time is not worth a run.
        with suppress(RobostackError, KeyError, TypeError, ValueError):
            self._training = float(read_json(self.path, {})["training_seconds"])

    def start_clock(self) -> None:
        """Training begins or goes on."""
        self._since = clock.now()

    def stop_clock(self) -> None:
        """The version is chosen."""
        self._training, self._since = self.training_seconds, None

    def write(self, now: bool = False) -> None:
        if not now and clock.now() - self._written < 0.5:
            return
        self._written = clock.now()
        recent = {
            "success": self.successes[-20:],
            "unaided": self.unaided[-20:],
            "person_share": float(np.mean(self.person_steps[-20:] or [0.0])),
            "lateness_p99": float(np.percentile(self.lateness or [0.0], 99)),
        }
        times = {"training_seconds": self.training_seconds, "written": clock.wall_time()}
        done = {"evaluated": len(self.evaluated), "evaluation_successes": sum(self.evaluated)}
        facts = {"phase": self.phase, "episodes": self.episodes, "steps": self.steps}
        value = facts | recent | done | times | {"checks": list(self.checks)}
        if now:
            self._teller.tell_now(value)
        else:
            self._teller.tell(value)  # a tick must not wait for the disk

    def close(self) -> None:
        self._teller.close()
