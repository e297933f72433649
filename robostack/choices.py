"""What a learner's checkpoint must have been made with, to be gone on from."""

import json
from pathlib import Path
from typing import Any

from robostack import config as configs
from robostack.config import RunConfig
from robostack.core.errors import RobostackError

NAMES = (  # of fields of a run
    *("task", "robot", "options", "seed", "demonstrations", "observe", "cameras"),
    *("method", "learner", "capacity", "warmup", "cloning", "updates_per_step", "ratio"),
    *("start", "publishing", "mask"),
)


def of(config: RunConfig) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists there."""
    whole = json.loads(json.dumps(configs.as_dict(config)))
    # How far a mask is open is counted in parts of the run's steps.
    names = (*NAMES, "steps") if config.mask.guide else NAMES
    return {name: whole[name] for name in names}


def require_equal(made: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Raises RobostackError with the first choice that differs."""
    usual = of(RunConfig())
    for name in wanted:
        # A choice that there was not yet was made as it is usually.
        was, now = made.get(name, usual.get(name)), wanted[name]
        if was == now:
            continue
        if isinstance(was, dict) and isinstance(now, dict):
            part = next(key for key in {**was, **now} if was.get(key) != now.get(key))
            if part not in was:
                raise RobostackError(
                    f"{path} was made before there was {name}.{part}; start another run"
                )
            name, was, now = f"{name}.{part}", was[part], now.get(part)
        raise RobostackError(
            f"{path} was made with {name} {was}, the run's config.json has {now}; "
            "put it back, or start another run"
        )
