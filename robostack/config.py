"""What a run is asked to do: typed, with units and defaults, from flags, a YAML file, or a run folder."""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from robostack.core import catalog, observe
from robostack.core.errors import BadValue, Unavailable, UnknownName, require
from robostack.core.guide import JumpStart
from robostack.core.mask import Mask
from robostack.core.operator import Style
from robostack.core.robot import Robot
from robostack.core.spec import Spec, View
from robostack.core.task import Task
from robostack.learn.acting import network_of
from robostack.learn.anchor import Start
from robostack.learn.config import CLONING, METHODS, SHOWN
from robostack.learn.config import Config as LearnerConfig
from robostack.learn.publish import Publishing
from robostack.learn.ratio import Ratio
from robostack.store.memory import Need
from robostack.store.replay import need

T = TypeVar("T")
PLANTS = ("ros", "twin")
OBSERVE = ("state", "cameras")
GEOMETRY = "geometry"  # what else `success` may be: the path of a classifier
KINDS = ("demonstration", "fill", "practice", "solo", "validation", "evaluation")  # of episodes
TRAINED = KINDS[:4]  # those that the learner learns from
PICTURE = (128, 128)  # height, width of a camera's pictures, px
SEEDS = 500  # a run's episodes have seeds from seed times a million on; `evaluate` begins at 500 million
MOST_EXAMINED = 100_000  # episodes of validation and of evaluation: their seeds would meet others


@dataclass(frozen=True)
class RunConfig:
    """One run. Change any field with `--set name=value`, nested ones as `learner.batch=128`."""

    task: str = "peg_insert"
    robot: str = "fr3"
    seed: int = 0
    method: str = "sac"  # or one that only imitates the person: bc, flow, hg_dagger
    observe: str = (
        "state"  # "cameras": the policy sees pictures, and not where the target is believed to be
    )
    success: str = GEOMETRY  # what says that the task is done: its geometry, or a classifier's file
    plant: str = "ros"  # "ros": a cell on topics; "twin": the mirror inside the actor, without ROS
    lockstep: bool = (
        True  # the cell waits for the actor, and episodes repeat exactly; False: real time
    )
    noise: bool = True  # of the mirror's sensors
    demonstrations: int = 20  # none with start.file: that policy fills the memory
    steps: int = 20_000  # most control steps of practice and checks
    warmup: int = 500  # learner steps on the demonstrations alone
    cloning: int = 10_000  # the same where the method only imitates
    updates_per_step: float = 2.0  # learner steps per control step, with ratio.mode=fixed
    ratio: Ratio = field(default_factory=Ratio)  # who chooses them
    check_every: int = 40  # practice episodes, at least, between two checks of the policy alone
    check_from: float = (
        0.8  # success without help in late practice that makes a check worth its time
    )
    check_episodes: int = 20  # in a row, deterministic, nobody helps
    perfect_checks: int = 3  # in a row, then the best version is validated
    good_enough: float = 0.99  # success in validation that ends practice early
    validation: int = 200  # episodes for each of the best versions, to choose one
    evaluation: int = 100  # episodes on fresh seeds, at the end
    capacity: int = 100_000  # frames in the replay memory
    cameras: tuple[str, ...] = ("wrist_camera", "front_camera")  # of the cell
    pictures: tuple[str, ...] = ("demonstration",)  # kinds of episodes that cameras are recorded in
    checkpoint_every: float = 15.0  # s of training; at most so much is trained again after a fault
    checkpoints: int = 3  # newest ones kept, besides the best: the last may be damaged
    options: dict[str, float] = field(default_factory=dict)  # of the task
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    person: Style = field(default_factory=Style)
    jump_start: JumpStart = field(default_factory=JumpStart)
    mask: Mask = field(default_factory=Mask)
    start: Start = field(default_factory=Start)
    publishing: Publishing = field(default_factory=Publishing)

    def __post_init__(self):
        if self.plant not in PLANTS:
            raise UnknownName("plant", self.plant, PLANTS)
        if self.method not in METHODS:
            raise UnknownName("method", self.method, METHODS)
        is_plain = not (self.start.file or self.publishing.bound or self.publishing.rollback)
        require(
            self.method == "sac" or is_plain,
            "method",
            self.method,
            "sac with start.file, publishing.bound or publishing.rollback",
        )
        # Weights from elsewhere, or of another time, would mean other actions in today's box.
        require(
            (self.method == "sac" and is_plain) or not self.mask.guide,
            "mask.guide",
            self.mask.guide,
            "none, or method sac without start.file, publishing.bound and publishing.rollback",
        )
        mode = self.ratio.mode
        # The held-out error is a critic's; without one nothing stands guard.
        is_guarded = self.method == "sac" or mode == "fixed"
        require(is_guarded, "ratio.mode", mode, f"fixed with method {self.method}")
        require(0 <= self.seed < SEEDS, "seed", self.seed, f"0 to {SEEDS - 1}")
        require(self.demonstrations >= 0, "demonstrations", self.demonstrations, "at least 0")
        for name in ("steps", "check_every", "check_episodes", "perfect_checks"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("validation", "evaluation"):
            count = getattr(self, name)
            require(1 <= count <= MOST_EXAMINED, name, count, f"1 to {MOST_EXAMINED}")
        for name in ("warmup", "cloning"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        require(self.capacity >= 1000, "capacity", self.capacity, "at least 1000 frames")
        for kind in self.pictures:
            if kind not in KINDS:
                raise UnknownName("kind of episode", kind, KINDS, "pictures")
        if self.observe not in OBSERVE:
            raise UnknownName("way to observe", self.observe, OBSERVE, "observe")
        is_seeing = self.observe == "state" or len(self.cameras) > 0
        require(is_seeing, "cameras", list(self.cameras), "at least one with observe=cameras")
        is_judged = self.success == GEOMETRY or len(self.cameras) > 0
        require(
            is_judged, "cameras", list(self.cameras), f"at least one with success={self.success}"
        )
        require(self.checkpoints >= 1, "checkpoints", self.checkpoints, "at least 1")
        every = self.checkpoint_every
        require(every >= 0, "checkpoint_every", every, "at least 0 s")
        updates = self.updates_per_step
        require(updates > 0, "updates_per_step", updates, "more than 0")
        require(0 <= self.check_from <= 1, "check_from", self.check_from, "0 to 1")

    def load_task(self) -> Task:
        """The task with its options. Raises UnknownName or BadValue."""
        return catalog.task(self.task, **self.options)

    def load_robot(self) -> Robot:
        """Raises UnknownName."""
        return catalog.robot(self.robot)

    @property
    def practises(self) -> bool:
        """Whether there is practice after the demonstrations."""
        return self.method not in SHOWN

    @property
    def first_steps(self) -> int:
        """Learner steps on the demonstrations alone."""
        return self.cloning if self.method in CLONING else self.warmup

    @property
    def trained(self) -> tuple[str, ...]:
        """Kinds of episodes that the learner learns from."""
        return TRAINED if self.practises else TRAINED[:1]

    @property
    def sees(self) -> bool:
        """Whether the policy looks through the cameras."""
        return self.observe == "cameras"

    def spec(self) -> Spec:
        """What the policy sees and does."""
        views = tuple(View(name, *PICTURE) for name in self.cameras) if self.sees else ()
        return observe.spec_of(self.load_task(), views)

    def films(self, kind: str) -> bool:
        """Whether the pictures are recorded in episodes of this kind."""
        return kind in self.pictures or (self.sees and kind in self.trained)

    def looks_through(self, kind: str) -> tuple[str, ...]:
        """Cameras that must give pictures in episodes of this kind."""
        needs_eyes = self.sees or self.success != GEOMETRY
        return self.cameras if needs_eyes or self.films(kind) else ()

    def memory(self) -> Need:
        """What a full replay memory will take. Raises RobostackError where the trunk's weights are missing."""
        spec = self.spec()
        network = network_of(spec, self.learner)
        count = self.learner.crops if network.sight else 1
        kept = {view.name: network.kept(view) for view in spec.views}
        sizes = {
            f"{name} {count} x {'x'.join(map(str, shape))}": count
            * math.prod(shape)
            * dtype.dtype.itemsize
            for name, (shape, dtype) in kept.items()
        }
        return need(spec, self.capacity, sizes)

    def require_memory(self) -> None:
        """Raises Unavailable, with the numbers, where this machine has less."""
        self.memory().require("choose a smaller capacity or fewer learner.crops")

    @property
    def name(self) -> str:
        """For the run folder."""
        method = "" if self.method == "sac" else f"-{self.method}"
        return f"{self.task}-{self.robot}{method}-s{self.seed}"


def as_dict(config: RunConfig) -> dict[str, Any]:
    return asdict(config)


def from_dict(data: Mapping[str, Any]) -> RunConfig:
    """The config in a mapping, as in config.json or a YAML file. Raises UnknownName or BadValue."""
    return _filled(RunConfig(), data, "")


def of_task(name: str) -> RunConfig:
    """What a run of this task begins with: tasks/<name>/train.yaml where there is one. Raises UnknownName."""
    path = catalog.task(name).scene.parent / "train.yaml"
    return replace(from_file(path) if path.exists() else RunConfig(), task=name)


def from_file(path: Path, base: RunConfig | None = None) -> RunConfig:
    """`base` with the fields that are in a YAML file. Raises Unavailable, BadValue or UnknownName."""
    try:
        data = _yaml(path.read_bytes(), str(path))
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from None
    if not isinstance(data, Mapping):
        raise BadValue(f"{path} holds {type(data).__name__}, expected fields like `task: reach`")
    return _filled(base or RunConfig(), data, "")


def override(config: RunConfig, settings: Iterable[str]) -> RunConfig:
    """The config with "name=value" settings applied; names with dots reach into parts."""
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise BadValue(f'got --set {setting}, expected name=value, for example "steps=5000"')
        nested: Any = _yaml(text, f"the value of {name}, {text!r},")
        for part in reversed(name.split(".")):
            nested = {part: nested}
        config = _filled(config, nested, "")
    return config


def _yaml(text: str | bytes, what: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date like 2024-13-01
        raise BadValue(f"{what} is not YAML: {' '.join(str(error).split())}") from None


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
        numbers = {str(key): _value(0.0, entry, f"{name}.{key}") for key, entry in value.items()}
        return {**default, **numbers}
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return tuple(_value(default[0], entry, f"{name}[{i}]") for i, entry in enumerate(value))
    if isinstance(default, int | float) and not isinstance(default, bool):
        number = _number(value)
        if number is not None and isinstance(default, float):
            return float(number)
        if number is not None and number == int(number):
            return int(number)
    elif type(value) is type(default):
        return value
    is_group = is_dataclass(default) or isinstance(default, dict)
    kind = "fields" if is_group else type(default).__name__
    raise BadValue(f"{name} is {value!r}, expected {kind}, for example {default!r}")


def _number(value: Any) -> int | float | None:
    """A finite number, or None. YAML 1.1 reads 1e-4 as text."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with suppress(OverflowError):  # a whole number beyond all floats
        return value if math.isfinite(value) else None
    return None
