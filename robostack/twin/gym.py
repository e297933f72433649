"""The mirror as Gymnasium environments: `robostack/PegInsert-v0`, `robostack/Reach-v0`, one for every task.

import gymnasium, robostack.twin.gym
env = gymnasium.make("robostack/PegInsert-v0", robot="ur5e", clearance=0.0005)
"""

from typing import Any

import gymnasium
import numpy as np

from robostack.core import catalog
from robostack.core.errors import UnknownName
from robostack.core.guard import Guard
from robostack.core.interact import Interaction
from robostack.core.plant import GuardedPlant
from robostack.twin.plant import TwinPlant
from robostack.twin.render import Camera

PICTURE = (360, 480)  # height, width of render(), px


class TwinEnv(gymnasium.Env):
    """One task on one robot, behind the guard. Observation and action as in core.spec, reward 1 on success.

    `info` of a step: "is_success", "action" (what was executed after limits and guard), "guard" (why it differs).
    The time limit is Gymnasium's wrapper, from the registration.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own form

    def __init__(
        self,
        task: str,
        robot: str = "fr3",
        noise: bool = True,
        render_mode: str | None = None,
        camera: str = "front_camera",
        **options: float,
    ):
        self._task, self._robot = catalog.task(task, **options), catalog.robot(robot)
        if render_mode not in (None, "rgb_array"):
            raise UnknownName("render_mode", str(render_mode), self.metadata["render_modes"])
        self.render_mode = render_mode
        self._twin = TwinPlant(self._task, self._robot, noise=noise)
        guard = Guard(self._robot.safety, self._task.period)
        self._plant = GuardedPlant(self._twin, guard)
        self._arm = Interaction(self._task, self._robot)
        self._camera = Camera(self._twin.scene, camera, *PICTURE) if render_mode else None
        size = (self._arm.spec.observation_size,)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, size, np.float32)
        size = (self._arm.spec.action_size,)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, size, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        del options
        drawn = self._plant.reset(int(self.np_random.integers(2**31)))
        self._seen = self._arm.begin(self._plant.read())
        return self._seen.observation, {"drawn": drawn}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        before = self._seen
        command = self._arm.command(np.asarray(action, float), before, self._plant.now)
        self._plant.send(command)
        samples = self._plant.read()
        self._seen = self._arm.see(samples)
        is_success = self._arm.is_done(self._seen)
        info = {
            "is_success": is_success,
            "action": self._arm.executed(command, before, samples),
            "guard": samples["guard"].value,
        }
        return self._seen.observation, float(is_success), is_success, False, info

    def render(self) -> np.ndarray | None:
        return self._camera.render(self._twin.data) if self._camera else None

    def close(self) -> None:
        if self._camera:
            self._camera.close()
        self._plant.close()


def identifier(task: str) -> str:
    """peg_insert -> robostack/PegInsert-v0."""
    return f"robostack/{task.title().replace('_', '')}-v0"


def register() -> None:
    """Registers an environment for every task in the catalog; done when this module is imported."""
    for task in catalog.tasks():
        if identifier(task) not in gymnasium.registry:
            gymnasium.register(
                identifier(task),
                entry_point="robostack.twin.gym:TwinEnv",
                max_episode_steps=catalog.task(task).steps,
                kwargs={"task": task},
            )


register()
