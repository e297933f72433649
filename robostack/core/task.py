"""A task as facts and small functions: what to reach, how commands are made, when it is done."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from robostack.core.errors import BadValue, UnknownName
from robostack.core.robot import Robot

Terms = dict[str, np.ndarray]  # observation terms in their units, (..., size) each
Stiff = Literal["compliant", "precise"]


@dataclass(frozen=True)
class Setup:
    """What chance sets for an episode. Poses are (7,), base frame."""

    start: np.ndarray  # T_base_tool at the first step
    target: np.ndarray  # T_base_target, where the tool really has to go
    target_observed: np.ndarray  # what the cell believes the target to be
    object: np.ndarray | None = None  # T_base_object, where a loose thing lies; None: there is none


@dataclass(frozen=True)
class Geom:
    """Size and place of a named primitive in scene.xml that depends on the task's options; m, parent frame."""

    size: tuple[float, ...]
    position: tuple[float, float, float]


class Expert(Protocol):
    """Does the task from what a person could see: the observation terms, the wrench among them, and a memory."""

    def act(self, terms: Terms) -> np.ndarray:
        """Action (m,) in [-1, 1]."""
        ...


def to_target(options: Any, terms: Terms) -> np.ndarray:
    """How far the tool is from its target, m, (...)."""
    del options
    return np.linalg.norm(terms["target_error"][..., :3], axis=-1)


@dataclass(frozen=True)
class Task:
    """One task, for every robot. It names roles (`tool`, `gripper`, `wrist_camera`), never joints.

    scene.xml holds a body `tool` (put on the robot's flange, with a site `tool`) and, if the target is a thing,
    a body `target` (placed at `Setup.target`). A task with an `object` has a body of that name on a free joint too; its
    frame is the tool's when it holds it. The action is a step of the tool in its own frame.
    """

    name: str
    title: str  # success in one sentence
    scene: Path
    options: Any  # frozen dataclass; checks its own values
    draw: Callable[[Any, np.random.Generator], Setup]  # (options, rng)
    succeeded: Callable[[Any, Terms], np.ndarray]  # (options, terms) -> (...) bool
    expert: Callable[[Any], Expert]
    geoms: Callable[[Any], dict[str, Geom]] = lambda options: {}
    period: float = 0.1  # s, control period
    steps: int = 100  # control periods until the episode is cut
    translation_scale: float = 0.015  # m per control period at full action
    rotation_scale: float = 0.05  # rad per control period at full action
    reference: Literal["measured", "commanded"] = "measured"  # what a step is added to
    axes: tuple[Stiff, ...] = ("compliant",) * 6  # which reference limit holds, per tool axis
    gripper: bool = False  # whether the action has a gripper term
    object: bool = False  # whether there is a loose thing, seen and drawn
    # Of all poses (..., 7) in which the object looks the same, the one that the cell gives for it.
    alike: Callable[[np.ndarray], np.ndarray] = lambda pose: pose
    # (options, terms) -> (...) m that are still to go, for a person to see whether it gets nowhere.
    left: Callable[[Any, Terms], np.ndarray] = to_target
    target_scale: tuple[float, float] = (
        0.02,
        0.1,
    )  # m, rad; makes the target error near one where it matters
    wrench_scale: tuple[float, float] = (10.0, 1.0)  # N, N m

    def with_options(self, **changes: Any) -> "Task":
        """The same task with other options. Raises UnknownName or BadValue."""
        valid = {field.name: field.type for field in fields(self.options)}
        for name in changes:
            if name not in valid:
                raise UnknownName("option", name, valid, f"task {self.name}")
        try:
            changes = {name: float(value) for name, value in changes.items()}
        except (TypeError, ValueError):
            raise BadValue(f"task {self.name}: options are numbers, got {changes}") from None
        return replace(self, options=replace(self.options, **changes))

    def reference_limit(self, robot: Robot) -> np.ndarray:
        """(6,) bound on reference minus measured, tool frame; times the stiffness it bounds the contact force."""
        return np.array([robot.reference_limits[kind][axis] for axis, kind in enumerate(self.axes)])

    @property
    def action_scale(self) -> np.ndarray:
        """(6,) what a full action moves, m and rad."""
        return np.repeat([self.translation_scale, self.rotation_scale], 3)
