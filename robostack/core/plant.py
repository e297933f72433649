"""The boundary to a cell: four methods. A real cell, its mirror and a mock all speak it."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from robostack.core import lie
from robostack.core.errors import UnknownName
from robostack.core.guard import Guard
from robostack.core.task import Setup, Task
from robostack.core.types import Command, Sample, Samples


class Plant(Protocol):
    """A cell. `now` is its clock, s; every stamp is on that clock."""

    kind: str  # "ros", "twin", "mock"
    is_guarded: bool  # whether a guard stands between send() and the controller
    is_lockstep: bool  # whether time waits for send()

    @property
    def now(self) -> float: ...

    def read(self) -> Samples:
        """Newest samples, by the names of observe.SIGNALS. After send() in lockstep: those one period later.

        May hold "guard" too: why the guard changed the last command, empty when it passed; and
        "gripper_reference" (1,): the opening it let through.
        """
        ...

    def send(self, command: Command) -> None: ...

    def reset(self, seed: int) -> dict[str, Any]:
        """Brings the cell to the start of an episode and returns what was drawn for it. Same seed, same start."""
        ...

    def look_through(self, cameras: Sequence[str]) -> None:
        """Whose pictures read() gives from the next reset on. Raises UnknownName for a camera it has not."""
        ...

    def close(self) -> None:
        """Lets go of the cell; may be called twice."""
        ...


class Cell(Plant, Protocol):
    """A simulated plant whose time can be moved by hand, as a mirror in real time needs it."""

    def follow(self, command: Command) -> None:
        """Takes a new reference; time stands still."""
        ...

    def advance(self, seconds: float) -> None:
        """Lets time pass. Raises BadValue unless it is a whole number of the plant's own steps."""
        ...


class GuardedPlant:
    """A plant with the guard inside its send(). Whoever holds this cannot pass the guard by."""

    is_guarded = True

    def __init__(self, plant: Plant, guard: Guard):
        self._plant, self._guard, self._reason = plant, guard, ""
        self._opening: float | None = None  # of the gripper, as let through
        self.kind, self.is_lockstep = plant.kind, plant.is_lockstep

    @property
    def now(self) -> float:
        return self._plant.now

    def read(self) -> Samples:
        now, samples = self._plant.now, dict(self._plant.read())
        samples["guard"] = Sample(now, self._reason)
        if self._opening is not None:
            samples["gripper_reference"] = Sample(now, np.array([self._opening]))
        return samples

    def send(self, command: Command) -> None:
        verdict = self._guard.check(command, self._plant.read(), self._plant.now)
        self._reason, self._opening = verdict.reason, verdict.command.gripper
        if np.isfinite(verdict.command.reference).all():  # else it is guard.NOWHERE
            self._plant.send(verdict.command)

    def reset(self, seed: int) -> dict[str, Any]:
        self._guard.reset()
        self._reason, self._opening = "", None
        return self._plant.reset(seed)

    def look_through(self, cameras: Sequence[str]) -> None:
        self._plant.look_through(cameras)

    def close(self) -> None:
        self._plant.close()


def setup_as_dict(setup: Setup) -> dict[str, list[float]]:
    """What was drawn, for the episode's header."""
    drawn = {name: value for name, value in vars(setup).items() if value is not None}
    return {name: np.asarray(value).tolist() for name, value in drawn.items()}


class MockPlant:
    """A tool that goes a part of the way to its reference each period and feels a spring below a plane.

    A gripper that closes around the object takes it along until it opens; then the object stays where it is. Real code
    for tests of everything above a plant: no physics worth the name, no dependencies, exact by seed.
    """

    kind, is_guarded, is_lockstep = "mock", False, True
    FOLLOWS = 0.7  # part of the way gone in one period
    STIFFNESS = 1000.0  # N/m below the plane
    AROUND = 0.02  # m between tool and object at which a closing gripper takes it
    HOLDS = 0.5  # opening of a gripper that has the object between its fingers

    def __init__(self, task: Task, floor: float = -np.inf):
        self._task, self._floor = task, floor  # floor: height of the plane, m, base frame
        self.now, self.is_closed = 0.0, False
        self._setup: Setup | None = None
        self._pose = self._reference = lie.IDENTITY
        self._twist, self._gripper = np.zeros(6), 0.0
        self._object: np.ndarray | None = None
        self._grasp: np.ndarray | None = None  # T_tool_object while it is held

    def reset(self, seed: int) -> dict[str, Any]:
        self._setup = self._task.draw(self._task.options, np.random.default_rng(seed))
        self._pose = self._reference = self._setup.start
        self._twist, self._gripper, self.now = np.zeros(6), 0.0, 0.0
        self._object, self._grasp = self._setup.object, None
        return setup_as_dict(self._setup)

    def look_through(self, cameras: Sequence[str]) -> None:
        if cameras:
            raise UnknownName("camera", cameras[0], [], "a mock is blind")

    def follow(self, command: Command) -> None:
        self._reference = command.reference
        if command.gripper > self.HOLDS:
            self._grasp = None
        elif self._object is not None and self._gripper > self.HOLDS:
            seen = lie.between(self._pose, self._object)
            self._grasp = seen if np.linalg.norm(seen[:3]) < self.AROUND else None
        self._gripper = self.HOLDS if self._grasp is not None else command.gripper

    def advance(self, seconds: float) -> None:
        part = 1.0 - (1.0 - self.FOLLOWS) ** (seconds / self._task.period)
        step = lie.log(lie.between(self._pose, self._reference)) * part
        self._twist = lie.rotate_twist(self._pose[3:], step) / seconds
        self._pose = lie.compose(self._pose, lie.exp(step))
        if self._grasp is not None:
            self._object = lie.compose(self._pose, self._grasp)
        self.now += seconds

    def send(self, command: Command) -> None:
        self.follow(command)
        self.advance(self._task.period)

    def read(self) -> Samples:
        if self._setup is None:
            return {}
        push = np.array([0.0, 0.0, max(0.0, self._floor - self._pose[2]) * self.STIFFNESS])
        force = lie.rotate(lie.quat_conjugate(self._pose[3:]), push)
        values = {
            "tool_pose": self._pose,
            "tool_twist": self._twist,
            "wrench": np.concatenate([force, np.zeros(3)]),
            "gripper": np.array([self._gripper]),
            "target": self._setup.target_observed,
            "reference": self._reference,
        }
        if self._object is not None:
            values["object"] = self._task.alike(self._object)
        return {name: Sample(self.now, value) for name, value in values.items()}

    def close(self) -> None:
        self.is_closed = True
