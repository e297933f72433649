"""What a run is asked to do: typed, with units and defaults, from flags, a YAML file, or a run folder."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from robostack.core import catalog
from robostack.core.errors import BadValue, Unavailable, UnknownName
from robostack.core.operator import Style
from robostack.core.robot import Robot
from robostack.core.task import Task
from robostack.learn.sac import Config as LearnerConfig

T = TypeVar("T")
PLANTS = ("ros", "twin")


@dataclass(frozen=True)
class RunConfig:
    """One run. Change any field with `--set name=value`, nested ones as `learner.batch=128`."""

    task: str = "peg_insert"
    robot: str = "fr3"
    seed: int = 0
    plant: str = "ros"  # "ros": a cell on topics; "twin": the mirror inside the actor, without ROS
    lockstep: bool = (
        True  # the cell waits for the actor, and episodes repeat exactly; False: real time
    )
    noise: bool = True  # of the mirror's sensors
    demonstrations: int = 20
    steps: int = 20_000  # most control steps of practice and checks
    warmup: int = 500  # learner steps on the demonstrations alone
    updates_per_step: float = 2.0  # learner steps per control step
    check_every: int = 40  # practice episodes, at least, between two checks of the policy alone
    check_from: float = (
        0.8  # success without help in late practice that makes a check worth its time
    )
    check_episodes: int = 20  # in a row, deterministic, nobody helps
    perfect_checks: int = 2  # in a row, then practice ends early
    validation: int = 50  # episodes for each of the best versions, to choose one
    evaluation: int = 100  # episodes on fresh seeds, at the end
    capacity: int = 100_000  # frames in the replay memory
    options: dict[str, float] = field(default_factory=dict)  # of the task
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    person: Style = field(default_factory=Style)

    def __post_init__(self):
        if self.plant not in PLANTS:
            raise UnknownName("plant", self.plant, PLANTS)
        for name in ("demonstrations", "steps", "check_every", "check_episodes", "evaluation"):
            if getattr(self, name) < 1:
                raise BadValue(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.updates_per_step <= 0:
            raise BadValue(f"updates_per_step is {self.updates_per_step}, expected more than 0")

    def load_task(self) -> Task:
        """The task with its options. Raises UnknownName or BadValue."""
        return catalog.task(self.task, **self.options)

    def load_robot(self) -> Robot:
        """Raises UnknownName."""
        return catalog.robot(self.robot)

    @property
    def name(self) -> str:
        """For the run folder."""
        return f"{self.task}-{self.robot}-s{self.seed}"


def as_dict(config: RunConfig) -> dict[str, Any]:
    return asdict(config)


def from_dict(data: Mapping[str, Any]) -> RunConfig:
    """The config in a mapping, as in config.json or a YAML file. Raises UnknownName or BadValue."""
    return _filled(RunConfig(), data, "")


def from_file(path: Path) -> RunConfig:
    """A YAML file with some of the fields. Raises Unavailable, BadValue or UnknownName."""
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise BadValue(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, Mapping):
        raise BadValue(f"{path} holds {type(data).__name__}, expected fields like `task: reach`")
    return from_dict(data)


def override(config: RunConfig, settings: Iterable[str]) -> RunConfig:
    """The config with "name=value" settings applied; names with dots reach into parts."""
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise BadValue(f'got --set {setting}, expected name=value, for example "steps=5000"')
        nested: Any = yaml.safe_load(text)
        for part in reversed(name.split(".")):
            nested = {part: nested}
        config = _filled(config, nested, "")
    return config


def _filled(default: T, data: Mapping[str, Any], prefix: str) -> T:
    valid = [f.name for f in fields(default)]  # type: ignore[arg-type]
    changes = {}
    for name, value in data.items():
        if name not in valid:
            raise UnknownName("field", f"{prefix}{name}", [prefix + v for v in valid])
        changes[name] = _value(getattr(default, name), value, f"{prefix}{name}")
    return replace(default, **changes)  # type: ignore[type-var]


def _value(default: Any, value: Any, name: str) -> Any:
    """`value` as the type of the default. Raises BadValue."""
    if is_dataclass(default) and isinstance(value, Mapping):
        return _filled(default, value, f"{name}.")
    if isinstance(default, dict) and isinstance(value, Mapping):
        return {**default, **value}
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return tuple(value)
    if (
        isinstance(default, float)
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ):
        return float(value)
    if type(value) is type(default):
        return value
    kind = (
        "fields" if is_dataclass(default) or isinstance(default, dict) else type(default).__name__
    )
    raise BadValue(f"{name} is {value!r}, expected {kind}, for example {default!r}")
