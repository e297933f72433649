"""The mirror of one cell as a plant: same samples, same commands, exact by seed."""

from collections.abc import Callable, Sequence
from typing import Any

import mujoco
import numpy as np

from robostack.core.errors import UnknownName
from robostack.core.plant import setup_as_dict
from robostack.core.robot import Robot
from robostack.core.task import Task
from robostack.core.types import Command, Sample, Samples
from robostack.twin import scene as scenes
from robostack.twin.cells import PERFECT, Cells, SensorModel
from robostack.twin.render import Camera

ONE = np.array([0])
NOISE = 2  # the noise has words of chance of its own: it must not tell what was drawn


class TwinPlant:
    """Owns one simulated cell. `cameras` give (size, size, 3) uint8 pictures: with every read(), unless `images`
    is off, or from picture(). `looks` is how often a period `on_move` is called; the motion is the same.
    """

    kind, is_guarded, is_lockstep = "twin", False, True

    def __init__(
        self,
        task: Task,
        robot: Robot,
        cameras: Sequence[str] = (),
        noise: bool = True,
        size: int = 128,
        images: bool = True,
        looks: int = 1,
    ):
        self.scene = scenes.build(robot, task)
        self._task, self._size = task, size
        self.cells = Cells(self.scene, 1, threads=1, sensors=SensorModel() if noise else PERFECT)
        self._cameras: dict[str, Camera] = {}
        self._open(cameras)
        self._seen = tuple(cameras) if images else ()
        self._looks = looks
        self._samples: Samples | None = None
        self.on_move: Callable[[], None] | None = (
            None  # for whoever watches: called after every move
        )
        self.on_close: Callable[[], None] | None = None

    @property
    def now(self) -> float:
        return float(self.cells.time[0])

    def reset(self, seed: int) -> dict[str, Any]:
        setup = self._task.draw(self._task.options, np.random.default_rng(seed))
        self.cells.reset(ONE, [setup], [seed, NOISE])
        self._samples = None
        return setup_as_dict(setup)

    def send(self, command: Command) -> None:
        self.follow(command)
        for _ in range(self._looks):
            self.advance(self._task.period / self._looks)

    def follow(self, command: Command) -> None:
        self.cells.follow(command.reference[None], np.array([command.gripper]))
        self._samples = None

    def advance(self, seconds: float) -> None:
        timestep = self.scene.model.opt.timestep
        self.cells.advance(scenes.whole_steps(seconds, timestep, "time to advance"))
        self._samples = None
        if self.on_move:
            self.on_move()

    def read(self) -> Samples:
        """Newest samples; reading twice gives the same, since the noise is drawn once per measurement."""
        if self._samples is None:
            self._samples = self._measure()
        return self._samples

    def _measure(self) -> Samples:
        now = self.now
        # After a reset the cell has stood still for longer than the sensors are late.
        measured = max(0.0, now - self.cells.sensors.delay)
        late = {"tool_pose", "tool_twist", "wrench", "object"}
        samples: dict[str, Sample] = {
            name: Sample(measured if name in late else now, value[0])
            for name, value in self.cells.measure().items()
        }
        samples["joint_position"] = Sample(now, self.cells.joint_positions()[0])
        samples["joint_velocity"] = Sample(now, self.cells.joint_velocities()[0])
        return samples | {name: Sample(now, self.picture(name)) for name in self._seen}

    def look_through(self, cameras: Sequence[str]) -> None:
        self._open(cameras)
        self._seen = tuple(cameras)

    def _open(self, cameras: Sequence[str]) -> None:
        for name in cameras:
            if name not in self.scene.cameras:
                where = f"task {self._task.name}"
                raise UnknownName("camera", name, self.scene.cameras, where)
            if name not in self._cameras:
                self._cameras[name] = Camera(self.scene, name, self._size, self._size)

    @property
    def cameras(self) -> tuple[str, ...]:
        return tuple(self._cameras)

    def picture(self, name: str) -> np.ndarray:
        """(size, size, 3) uint8 as camera `name` sees the cell now. One thread only: OpenGL's."""
        return self._cameras[name].render(self.cells.data(0))

    def intrinsics(self, name: str) -> np.ndarray:
        """(3, 3) K of the camera, px: a pinhole, its centre in the middle."""
        return self._cameras[name].intrinsics

    @property
    def data(self) -> mujoco.MjData:
        """The cell's state, for a viewer."""
        return self.cells.data(0)

    def close(self) -> None:
        for camera in self._cameras.values():
            camera.close()
        self._cameras = {}
        if self.on_close:
            self.on_close()
        self.on_move = self.on_close = None
