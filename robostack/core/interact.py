"""How a policy meets one arm: samples become what is seen, an action becomes a command, and back."""

from dataclasses import dataclass

import numpy as np

from robostack.core import observe
from robostack.core.command import Commander, gripper_target
from robostack.core.robot import Robot
from robostack.core.spec import View
from robostack.core.success import IN_BASE, Judge, in_base
from robostack.core.task import Task, Terms
from robostack.core.types import Command, Samples


@dataclass(frozen=True)
class Seen:
    """What one tick starts from."""

    samples: Samples
    terms: Terms
    observation: np.ndarray  # (n,) float32

    @property
    def pictures(self) -> dict[str, np.ndarray]:
        """What the cameras saw, (H, W, 3) uint8 by name."""
        return observe.pictures(self.samples)


class Interaction:
    """Owns the pose of the tool at the episode's start. The loop and the Gymnasium environment stand on it.

    A `judge` says when the task is done; without one its geometry does.
    """

    def __init__(
        self, task: Task, robot: Robot, views: tuple[View, ...] = (), judge: Judge | None = None
    ):
        self.task, self.spec, self._judge = task, observe.spec_of(task, views), judge
        self._commander = Commander(task, robot)
        self._reset_pose: np.ndarray | None = None

    def begin(self, samples: Samples) -> Seen:
        """What is seen first; poses are relative to it from now on."""
        self._reset_pose = samples["tool_pose"].value
        if self._judge:
            self._judge.begin()
        return self.see(samples)

    def see(self, samples: Samples) -> Seen:
        assert self._reset_pose is not None, "see before begin"
        terms = observe.observe(self._reset_pose, samples)
        return Seen(samples, terms, observe.pack(self.spec, terms))

    def is_done(self, seen: Seen) -> bool:
        """Whether the task has succeeded. Ask once for each step, in order: a judge counts frames."""
        if self._judge:
            place = in_base(seen.samples["tool_pose"].value)
            return self._judge.is_done({**seen.terms, IN_BASE: place}, seen.pictures)
        return bool(self.task.succeeded(self.task.options, seen.terms))

    def command(self, action: np.ndarray, seen: Seen, now: float) -> Command:
        """What an action (m,) in [-1, 1] sends; `now` on the plant's clock, s."""
        measured, commanded = seen.samples["tool_pose"].value, seen.samples["reference"].value
        reference = self._commander.reference(action[:6], measured, commanded)
        return Command(now, reference, float(gripper_target(action, self.task.gripper)))

    def executed(self, command: Command, before: Seen, after: Samples) -> np.ndarray:
        """The action (m,) that was really sent: limits and guard may have changed what was asked."""
        measured, commanded = before.samples["tool_pose"].value, before.samples["reference"].value
        arm = self._commander.action(after["reference"].value, measured, commanded)
        if not self.task.gripper:
            return arm
        passed = after.get("gripper_reference")
        opening = command.gripper if passed is None else float(passed.value[0])
        return np.append(arm, 2.0 * opening - 1.0)
