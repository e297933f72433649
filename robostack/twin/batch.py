"""Many cells learning at once: a vectorized environment over the same observation, command and guard arithmetic."""

from typing import NamedTuple

import numpy as np

from robostack.core import observe
from robostack.core.command import Commander, gripper_target
from robostack.core.limits import limit_motion
from robostack.core.robot import Robot
from robostack.core.task import Task
from robostack.twin import scene as scenes
from robostack.twin.cells import PERFECT, Cells, SensorModel


class Transition(NamedTuple):
    """What one control period brought, for every cell."""

    observation: (
        np.ndarray
    )  # (N, n) float32, the next one; after an end, the first of the new episode
    reward: np.ndarray  # (N,)
    terminated: np.ndarray  # (N,) bool, the task ended
    truncated: np.ndarray  # (N,) bool, the time limit
    final_observation: np.ndarray  # (N, n) float32, the next one before any reset
    action: np.ndarray  # (N, m) what was executed after limits and guard
    held: np.ndarray  # (N,) bool, the guard held for force


class BatchTwin:
    """Owns `count` cells and their episodes; an ended cell starts anew within the same step."""

    def __init__(
        self,
        task: Task,
        robot: Robot,
        count: int = 64,
        threads: int = 0,
        seed: int = 0,
        noise: bool = True,
    ):
        scene = scenes.build(robot, task)
        self.task, self.robot, self.count = task, robot, count
        self.spec = observe.spec_of(task)
        self.cells = Cells(scene, count, threads, SensorModel() if noise else PERFECT, seed)
        self._commander = Commander(task, robot)
        timestep = scene.model.opt.timestep
        self._substeps = scenes.whole_steps(task.period, timestep, "control period")
        self._seeds = np.random.default_rng(seed)
        self._tick = np.zeros(count, int)
        self._velocity = np.zeros((count, 6))  # of the references, as the guard keeps it
        self._opening = np.zeros(count)  # of the grippers, as let through
        self._reset_pose = np.zeros((count, 7))
        self._signals: dict[str, np.ndarray] = {}

    def reset(self) -> np.ndarray:
        """All cells to the start of an episode; observation (N, n)."""
        self._start(np.arange(self.count))
        return self._observe()[1]

    def step(self, action: np.ndarray) -> Transition:
        """One control period under actions (N, m) in [-1, 1]."""
        measured, commanded = self._signals["tool_pose"], self._signals["reference"]
        wanted = self._commander.reference(action[:, :6], measured, commanded)
        opening = gripper_target(action, self.task.gripper)
        reference, opening, held = self._guard(wanted, opening)
        executed = self._executed(reference, opening, measured, commanded)
        self.cells.follow(reference, opening)
        self.cells.advance(self._substeps)
        self._signals = self.cells.measure()
        self._tick += 1
        terms, final = self._observe()
        terminated = self.task.succeeded(self.task.options, terms)
        truncated = ~terminated & (self._tick >= self.task.steps)
        observation = final
        if len(ended := np.flatnonzero(terminated | truncated)):
            self._start(ended)
            observation = final.copy()
            observation[ended] = self._observe()[1][ended]
        return Transition(
            observation, terminated.astype(float), terminated, truncated, final, executed, held
        )

    def _executed(self, reference, opening, measured, commanded) -> np.ndarray:
        arm = self._commander.action(reference, measured, commanded)
        if not self.task.gripper:
            return arm
        return np.concatenate([arm, 2.0 * opening[:, None] - 1.0], -1)

    def _start(self, ids: np.ndarray) -> None:
        draw, options = self.task.draw, self.task.options
        self.cells.reset(ids, [draw(options, self._seeds) for _ in ids])
        fresh = self.cells.measure()
        self._signals = self._signals or fresh
        for name, value in fresh.items():
            self._signals[name][ids] = value[ids]
        self._reset_pose[ids] = fresh["tool_pose"][ids]
        self._velocity[ids], self._tick[ids] = 0.0, 0
        self._opening[ids] = fresh["gripper"][ids, 0]

    def _observe(self) -> tuple[observe.Terms, np.ndarray]:
        terms = observe.terms_of(self._reset_pose, **self._signals)
        return terms, observe.pack(self.spec, terms)

    def _guard(
        self, wanted: np.ndarray, opening: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """References and openings that may be sent, and which cells hold instead; core.guard's rules."""
        safety, measured = self.robot.safety, self._signals["tool_pose"]
        wrench = self._signals["wrench"]
        force = np.linalg.norm(wrench[:, :3], axis=-1)
        torque = np.linalg.norm(wrench[:, 3:], axis=-1)
        is_finite = np.isfinite(wanted).all(-1) & np.isfinite(opening)
        held = (force > safety.force) | (torque > safety.torque) | ~is_finite
        last = np.where((self._tick == 0)[:, None], measured, self._signals["reference"])
        asked = np.where(held[:, None], measured, wanted)
        limited = limit_motion(safety, last, self._velocity, asked, self.task.period)
        self._velocity = np.where(held[:, None], 0.0, limited.velocity)
        self._opening = np.where(held, self._opening, opening)
        return np.where(held[:, None], measured, limited.reference), self._opening, held
