"""Action to reference pose and back: written once, for every plant, and for one arm or a batch."""

import numpy as np

from robostack.core import lie
from robostack.core.robot import Robot
from robostack.core.task import Task


class Commander:
    """Owns one task's way of turning actions into references for one robot. Poses are (..., 7), base frame."""

    def __init__(self, task: Task, robot: Robot):
        self._scale = task.action_scale
        self._limit = task.reference_limit(robot)
        self._from_measured = task.reference == "measured"

    def reference(
        self, action: np.ndarray, measured: np.ndarray, commanded: np.ndarray
    ) -> np.ndarray:
        """Where an action (..., 6) in [-1, 1] sends the tool.

        The step is added to the measured or the last commanded pose, as the task says. Whatever comes out stays
        within the task's per-axis limit of the measured pose: stiffness times that limit bounds the contact force.
        """
        stretch = np.clip(action, -1.0, 1.0) * self._scale
        if not self._from_measured:
            wanted = lie.compose(commanded, lie.exp(stretch))
            stretch = lie.log(lie.between(measured, wanted))
        return lie.compose(measured, lie.exp(np.clip(stretch, -self._limit, self._limit)))

    def action(
        self, reference: np.ndarray, measured: np.ndarray, commanded: np.ndarray
    ) -> np.ndarray:
        """The action (..., 6) that a reference amounts to; what was executed after limits and guard."""
        origin = measured if self._from_measured else commanded
        return np.clip(lie.log(lie.between(origin, reference)) / self._scale, -1.0, 1.0)


def gripper_target(action: np.ndarray, has_gripper: bool) -> np.ndarray:
    """Opening in 0..1 from the action's last entry in [-1, 1]; closed where the task holds its tool. (...,)"""
    if not has_gripper:
        return np.zeros(action.shape[:-1])
    return 0.5 * (1.0 + np.clip(action[..., 6], -1.0, 1.0))
