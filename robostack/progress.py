"""What an actor tells the outside while it works: the terminal view, the report, whoever looks into the folder."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robostack.core import clock
from robostack.store.run import write_json


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
    lateness: list[float] = field(default_factory=list)  # s, the newest ticks
    checks: list[dict] = field(default_factory=list)
    evaluated: list[bool] = field(default_factory=list)
    training_seconds: float = 0.0  # from the first demonstration to the chosen version
    _written: float = 0.0

    def write(self, now: bool = False) -> None:
        if not now and clock.now() - self._written < 0.5:
            return
        self._written = clock.now()
        recent = {
            "success": self.successes[-20:],
            "unaided": self.unaided[-20:],
            "person_share": float(np.mean(self.person_steps[-20:] or [0.0])),
            "lateness_p99": float(np.percentile(self.lateness[-1000:] or [0.0], 99)),
        }
        times = {"training_seconds": self.training_seconds, "written": clock.wall_time()}
        done = {"evaluated": len(self.evaluated), "evaluation_successes": sum(self.evaluated)}
        facts = {"phase": self.phase, "episodes": self.episodes, "steps": self.steps}
        # Not durable: the next one comes in half a second, and a tick must not wait for the disk.
        write_json(
            self.path, facts | recent | done | times | {"checks": self.checks}, is_durable=now
        )
