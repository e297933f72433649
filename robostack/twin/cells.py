"""Many simulated cells of one scene, stepped together on threads; a single cell is a batch of one.

The only code that moves a simulation: the plant, the batch, the Gymnasium environment and the mirror node all stand
on it, so they are the same cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import mujoco.batch
import numpy as np

from robostack.core import lie
from robostack.core.errors import BadValue
from robostack.core.task import Setup
from robostack.twin import scene as scenes
from robostack.twin.scene import Scene


@dataclass(frozen=True)
class SensorModel:
    """How measurements differ from the truth. Standard deviations, white, per sample."""

    delay: float = 0.008  # s, from measuring to having
    position: float = 0.0001  # m
    rotation: float = 0.0005  # rad
    linear_velocity: float = 0.002  # m/s
    angular_velocity: float = 0.005  # rad/s
    force: float = 0.3  # N
    torque: float = 0.02  # N m
    object_position: float = 0.0005  # m
    object_rotation: float = 0.005  # rad

    @property
    def deviations(self) -> np.ndarray:
        """(24,) pose, twist, wrench, and the pose of a loose thing."""
        return np.repeat(list(vars(self).values())[1:], 3)


NO_SENSORS = int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
PERFECT = SensorModel(*[0.0] * 9)


class Cells:
    """Owns `count` simulations. Arrays are (count, ...), or (len(ids), ...) for calls that take ids."""

    def __init__(
        self,
        scene: Scene,
        count: int,
        threads: int = 0,
        sensors: SensorModel | None = None,
        seed: int = 0,
    ):
        self.scene, self.count = scene, count
        self.sensors = sensors or SensorModel()
        model = scene.model
        self._delay = 0
        if self.sensors.delay:
            self._delay = scenes.whole_steps(self.sensors.delay, model.opt.timestep, "sensor delay")
        self._batch = mujoco.batch.Batch(model, count, threads, persistent=True)
        names = ("qpos", "qvel", "ctrl", "mocap_pos", "mocap_quat", "sensordata")
        names += ("site_xpos", "site_xquat")
        self._field = {name: self._batch.bind(name) for name in names}
        self._flags = self._batch.expand("opt.disableflags")
        self._slice = _sensor_slices(model)
        self._solver = StartSolver(scene)
        self._rng = np.random.default_rng(seed)
        self._tare = np.zeros((count, 6))
        self._measured = np.zeros((count, model.nsensordata))
        self.target_observed = np.tile(lie.IDENTITY, (count, 1))
        self.target = np.tile(lie.IDENTITY, (count, 1))
        self.time = np.zeros(count)  # s, since the reset

    def reset(
        self, ids: np.ndarray, setups: list[Setup], seed: Sequence[int] | None = None
    ) -> None:
        """Puts these cells at the start of an episode, at rest. `seed` makes the noise repeat itself."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        field, scene = self._field, self.scene
        self._flags[:] = scene.model.opt.disableflags
        self._batch.reset(ids=ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
        for i, setup in zip(ids, setups, strict=True):
            field["qpos"][i] = scene.model.qpos0
            field["qpos"][i, scene.joints] = self._solver.joints(setup.start)
            if scene.object is not None:
                assert setup.object is not None, f"{scene.task.name} draws no place for its object"
                field["qpos"][i, scene.object : scene.object + 7] = setup.object
            field["qvel"][i] = 0.0
            field["ctrl"][i] = 0.0
            self._place(i, scene.target, setup.target)
            self.target[i], self.target_observed[i] = setup.target, setup.target_observed
        self._batch.forward(ids=ids)
        # The spring starts relaxed: its reference is where the arm came to, not where it was sent.
        for i in ids:
            self._place(i, scene.reference, self.tool_pose()[i])
        self._batch.forward(ids=ids)
        self._tare[ids] = field["sensordata"][ids][:, self._slice["wrench"]]
        self._measured[ids] = field["sensordata"][ids]
        self.time[ids] = 0.0

    def follow(self, reference: np.ndarray, opening: np.ndarray) -> None:
        """New references (count, 7), base frame, and gripper openings (count,) in 0..1; time stands still."""
        slot = self.scene.reference
        self._field["mocap_pos"][:, slot] = reference[:, :3]
        self._field["mocap_quat"][:, slot] = reference[:, 3:]
        if self.scene.gripper is not None:
            self._field["ctrl"][:, self.scene.gripper] = opening * self.scene.gripper_opening[1]

    def advance(self, steps: int) -> None:
        """Physics steps, all cells. What is measured is the state `sensors.delay` before the end."""
        if steps < self._delay:
            raise BadValue(
                f"advance by {steps} physics steps, but sensors are {self._delay} steps late; "
                "advance further at a time or lower the delay"
            )
        if (before := steps - self._delay) > 1:
            self._step(before - 1, with_sensors=False)
        if before:
            self._step(1, with_sensors=True)
        else:
            self._flags[:] = self.scene.model.opt.disableflags
            self._batch.forward()
        self._measured[:] = self._field["sensordata"]
        self._step(self._delay, with_sensors=False)
        self.time += steps * self.scene.model.opt.timestep

    def _step(self, steps: int, with_sensors: bool) -> None:
        """Sensors are a tenth of a physics step, and only one in a period is looked at."""
        if steps:
            self._flags[:] = self.scene.model.opt.disableflags | (0 if with_sensors else NO_SENSORS)
            self._batch.step(nstep=steps, stage=mujoco.mjtStage.mjSTAGE_VEL)

    def measure(self) -> dict[str, np.ndarray]:
        """Signals as the sensors give them now, late and noisy; shapes as in core.observe.SIGNALS."""
        raw, part = self._measured, self._slice
        deviations = self.sensors.deviations
        if self.scene.object is None:
            deviations = deviations[:18]
        noise = self._rng.standard_normal((self.count, len(deviations))) * deviations

        def pose(kind: str, noise: np.ndarray) -> np.ndarray:
            turn = lie.so3_exp(noise[:, 3:])
            quat = lie.quat_multiply(raw[:, part[f"{kind}quaternion"]], turn)
            return np.concatenate([raw[:, part[f"{kind}position"]] + noise[:, :3], quat], -1)

        found = {
            "tool_pose": pose("", noise[:, :6]),
            "tool_twist": raw[:, part["twist"]] + noise[:, 6:12],
            "wrench": self._tare - raw[:, part["wrench"]] + noise[:, 12:18],
            "gripper": self._opening(),
            "target": self.target_observed.copy(),
            "reference": self.reference(),
        }
        if self.scene.object is not None:
            found["object"] = self.scene.task.alike(pose("object_", noise[:, 18:]))
        return found

    def reference(self) -> np.ndarray:
        """(count, 7) what the impedance follows, base frame."""
        slot = self.scene.reference
        field = self._field
        return np.concatenate([field["mocap_pos"][:, slot], field["mocap_quat"][:, slot]], -1)

    def tool_pose(self) -> np.ndarray:
        """(count, 7) where the tools really are now, base frame."""
        tool, field = self.scene.tool, self._field
        return np.concatenate([field["site_xpos"][:, tool], field["site_xquat"][:, tool]], -1)

    def joint_positions(self) -> np.ndarray:
        """(count, n) rad."""
        return self._field["qpos"][:, self.scene.joints].copy()

    def joint_velocities(self) -> np.ndarray:
        """(count, n) rad/s."""
        return self._field["qvel"][:, self.scene.dofs].copy()

    def data(self, index: int, out: mujoco.MjData | None = None) -> mujoco.MjData:
        """One cell's state, for a renderer or a viewer."""
        return self._batch.get_data(index, out)

    def _opening(self) -> np.ndarray:
        if self.scene.gripper is None:
            return np.zeros((self.count, 1))
        address, full = self.scene.gripper_opening
        return np.clip(self._field["qpos"][:, [address]] / full, 0.0, 1.0)

    def _place(self, cell: int, slot: int, pose: np.ndarray) -> None:
        self._field["mocap_pos"][cell, slot] = pose[:3]
        self._field["mocap_quat"][cell, slot] = pose[3:]


def _sensor_slices(model: mujoco.MjModel) -> dict[str, slice]:
    """Where our sensors stand in sensordata; the scene adds them in this order, before any other."""
    names = [model.sensor(i).name for i in range(model.nsensor)]
    ours = [name for name in (*scenes.SENSORS, *scenes.OBJECT_SENSORS) if name in names]
    start = [int(model.sensor(name).adr[0]) for name in ours]
    assert start == [0, 3, 7, 10, 13, 16, 19, 22][: len(start)], "scene.SENSORS changed its order"
    return {
        "position": slice(0, 3),
        "quaternion": slice(3, 7),
        "twist": slice(7, 13),
        "wrench": slice(13, 19),
        "object_position": slice(19, 22),  # these two only where there is one
        "object_quaternion": slice(22, 26),
    }


class StartSolver:
    """Owns scratch data for the inverse kinematics of resets: damped least squares from home."""

    TOLERANCE = 1e-5  # m and rad
    DAMPING = 1e-4
    MOST_STEP = 0.3  # rad per iteration and joint

    def __init__(self, scene: Scene):
        self._scene, self._data = scene, mujoco.MjData(scene.model)

    def joints(self, T_base_tool: np.ndarray) -> np.ndarray:
        """Joint angles (n,), rad, that put the tool there. Raises BadValue when no pose within limits does."""
        scene, model, data = self._scene, self._scene.model, self._data
        lower = np.array([joint.lower for joint in scene.robot.joints])
        upper = np.array([joint.upper for joint in scene.robot.joints])
        data.qpos[:] = model.qpos0
        q = scene.robot.home
        jacobian = np.zeros((6, model.nv))
        quat = np.zeros(4)
        for _ in range(100):
            data.qpos[scene.joints] = q
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mju_mat2Quat(quat, data.site_xmat[scene.tool])
            turn = lie.so3_log(lie.quat_multiply(T_base_tool[3:], lie.quat_conjugate(quat)))
            error = np.concatenate([T_base_tool[:3] - data.site_xpos[scene.tool], turn])
            if np.abs(error).max() < self.TOLERANCE:
                return q
            mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], scene.tool)
            J = jacobian[:, scene.dofs]
            step = J.T @ np.linalg.solve(J @ J.T + self.DAMPING * np.eye(6), error)
            q = np.clip(q + np.clip(step, -self.MOST_STEP, self.MOST_STEP), lower, upper)
        raise BadValue(
            f"{scene.robot.name} cannot bring its tool to {np.round(T_base_tool, 3).tolist()} "
            f"(still {np.abs(error).max():.4f} m or rad away); move the task's start nearer to the middle of its reach"
        )
