"""Labelled pictures of a cell at work: what a camera sees, and where tool and target truly are in it."""

from collections.abc import Iterator
from dataclasses import dataclass

import mujoco
import numpy as np

from robostack.core import lie, observe
from robostack.core.robot import Robot
from robostack.core.task import Expert, Task
from robostack.twin.batch import BatchTwin
from robostack.twin.looks import Looks, camera_id, expose
from robostack.twin.render import open_renderer
from robostack.twin.scene import PREFIX, Scene

DEPTH = 16  # px, height and width of the coarse depth map
CELLS = 16  # simulated at once
CLOSE = 0.01  # m, standard deviation per axis of a target that is put below the tool
THING = {  # what is told of a thing: name -> size
    "position": 3,  # m, in the tool frame
    "yaw": 2,  # sine and cosine of its turn about the tool's z
    "pixel": 2,  # -1 at the left and top edge, 1 at the right and bottom
    "far": 1,  # log of the distance (m) along the camera's axis
    "seen": 1,  # 1 where it is in the picture, else 0
}
# Of a task's target, of its loose object (the target again where there is none), and where the tool is in the picture.
LABELS = {f"{thing}_{name}": size for thing in ("target", "object") for name, size in THING.items()}
LABELS |= {"tool_pixel": 2, "tool_far": 1}


@dataclass(frozen=True)
class Sight:
    """A picture (H, W, 3) uint8, its labels (LABELS, (n,) float32 each), log of depth in m (DEPTH, DEPTH) float16."""

    picture: np.ndarray
    labels: dict[str, np.ndarray]
    depth: np.ndarray


class Sights:
    """Owns cells of one task on one robot that move as a learner's do: its expert, disturbed, and wandering.

    Pictures and labels repeat themselves by seed. Depth does but for single places on edges: read from another OpenGL
    context, Mesa's software renderer gives those sometimes to the thing in front, sometimes to what is behind.
    """

    def __init__(self, task: Task, robot: Robot, size: int, seed: int):
        self._rng = np.random.default_rng(seed)
        self._twin = BatchTwin(task, robot, CELLS, threads=1, seed=seed)
        self.scene = self._twin.cells.scene
        self.cameras = self.scene.cameras
        model = self.scene.model
        names = [model.joint(i).name for i in range(model.njnt)]
        self._object: int | None = None  # where its pose stands in qpos
        if (name := f"{PREFIX}object") in names:
            self._object = int(model.joint(name).qposadr[0])
        self._looks = Looks(self.scene)
        self._renderer = open_renderer(self.scene.model, size, size)
        self._depth = open_renderer(self.scene.model, DEPTH, DEPTH)
        self._depth.enable_depth_rendering()
        self._data = mujoco.MjData(self.scene.model)
        self._observation = self._twin.reset()
        self._wander = np.zeros((CELLS, self._twin.spec.action_size))
        self._experts = [self._expert() for _ in range(CELLS)]
        self._pull = self._draw_pull(CELLS)

    def _expert(self) -> Expert:
        return self._twin.task.expert(self._twin.task.options)

    def _draw_pull(self, count: int) -> np.ndarray:
        """How much of an action is the expert's, (count,): mostly, or few episodes would come near their end."""
        return self._rng.beta(3.0, 1.0, count)

    def moments(self) -> Iterator[int]:
        """Cells, one after another, each some control periods after it was last given; without end."""
        while True:
            yield from range(CELLS)
            for _ in range(int(self._rng.integers(2, 6))):
                self._step()

    def _step(self) -> None:
        noise = self._rng.normal(0.0, 0.3, self._wander.shape)
        self._wander = 0.9 * self._wander + noise
        terms = observe.unpack(self._twin.spec, self._observation)
        wise = np.stack(
            [
                expert.act({name: value[i] for name, value in terms.items()})
                for i, expert in enumerate(self._experts)
            ]
        )
        pull = self._pull[:, None]
        action = np.clip(pull * wise + (1 - pull) * self._wander, -1.0, 1.0)
        moved = self._twin.step(action)
        self._observation = moved.observation
        for i in np.flatnonzero(moved.terminated | moved.truncated):
            self._experts[i] = self._expert()
            self._pull[i] = self._draw_pull(1)[0]

    def look(self, cell: int, camera: str, changed: bool = True, off_path: bool = True) -> Sight:
        """The cell as a camera sees it now. `changed`: with a look drawn anew; `off_path`: arm and target moved
        aside at random, as no episode would have them.
        """
        rng, scene, data = self._rng, self.scene, self._data
        if changed:
            self._looks.draw(rng)
        else:
            self._looks.restore()
        self._twin.cells.data(cell, data)
        if off_path:
            self._move_aside(data)
            turn = lie.so3_exp(np.array([0.0, 0.0, rng.normal(0.0, 0.15)]))
            data.mocap_quat[scene.target] = lie.quat_multiply(turn, data.mocap_quat[scene.target])
        mujoco.mj_kinematics(scene.model, data)
        mujoco.mj_comPos(scene.model, data)
        mujoco.mj_camlight(scene.model, data)
        return self._shoot(camera, changed)

    def _move_aside(self, data: mujoco.MjData) -> None:
        """The arm by a few centimetres, and what it works on likewise or to somewhere close below the tool."""
        rng, scene = self._rng, self.scene
        places = [data.mocap_pos[scene.target]]
        if self._object is not None:
            places.append(data.qpos[self._object : self._object + 3])
        near = rng.integers(2 * len(places))  # half of the time none
        if near >= len(places):
            data.qpos[scene.joints] += rng.normal(0.0, 0.02, len(scene.joints))
        for i, place in enumerate(places):
            if i == near:
                place[:2] = data.site_xpos[scene.tool, :2] + rng.normal(0.0, CLOSE, 2)
            elif near >= len(places):
                place[:2] += rng.normal(0.0, 0.015, 2)

    def _shoot(self, camera: str, changed: bool) -> Sight:
        scene, data, rng = self.scene, self._data, self._rng
        number = camera_id(scene, camera)
        tool, target = _pose_of_tool(scene, data), _pose_of_target(scene, data)
        thing = target if self._object is None else data.qpos[self._object : self._object + 7]
        avoid = np.stack([tool[:3], target[:3], thing[:3]])
        if changed:
            for texture in range(scene.model.ntex):
                mujoco.mjr_uploadTexture(scene.model, self._renderer._mjr_context, texture)
        self._renderer.update_scene(data, camera=number)
        self._depth.update_scene(data, camera=number)
        if changed:
            again = np.random.default_rng(rng.integers(2**32))  # both renderers the same things
            state = again.bit_generator.state
            self._looks.clutter(again, avoid, self._renderer.scene)
            again.bit_generator.state = state
            self._looks.clutter(again, avoid, self._depth.scene)
        picture = self._renderer.render()
        depth = np.log(np.clip(self._depth.render().astype(float), 0.02, 3.0)).astype(np.float16)
        if changed:
            picture = expose(picture, rng)
        return Sight(picture, labels_of(scene.model, data, number, tool, (target, thing)), depth)

    def close(self) -> None:
        self._looks.restore()
        self._renderer.close()
        self._depth.close()


def labels_of(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    camera: int,
    tool: np.ndarray,
    things: tuple[np.ndarray, np.ndarray],
) -> dict[str, np.ndarray]:
    """LABELS of a square picture. Poses (7,) of tool, target and object, base frame."""
    tangent = np.tan(0.5 * np.deg2rad(model.cam_fovy[camera]))
    R_base_camera = data.cam_xmat[camera].reshape(3, 3)

    def in_picture(p_base: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """Pixel (2,), log distance (1,), and whether it is in the picture."""
        p_camera = (p_base - data.cam_xpos[camera]) @ R_base_camera
        far = max(-p_camera[2], 0.02)  # MuJoCo's cameras look along -z, y up
        pixel = p_camera[:2] * [1.0, -1.0] / (far * tangent)
        return pixel, np.log([far]), bool(np.abs(pixel).max() < 1.0 and far > 0.02)

    labels: dict[str, np.ndarray] = {}
    for name, thing in zip(("target", "object"), things, strict=True):
        T_tool_thing = lie.between(tool, thing)
        R = lie.quat_matrix(T_tool_thing[3:])
        yaw = np.arctan2(R[1, 0], R[0, 0])
        pixel, far, seen = in_picture(thing[:3])
        told = (
            T_tool_thing[:3],
            np.array([np.sin(yaw), np.cos(yaw)]),
            pixel,
            far,
            np.array([seen]),
        )
        labels |= {f"{name}_{kind}": value for kind, value in zip(THING, told, strict=True)}
    labels["tool_pixel"], labels["tool_far"], _ = in_picture(tool[:3])
    return {name: np.asarray(value, np.float32) for name, value in labels.items()}


def _pose_of_tool(scene: Scene, data: mujoco.MjData) -> np.ndarray:
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, data.site_xmat[scene.tool])
    return np.concatenate([data.site_xpos[scene.tool], quat])


def _pose_of_target(scene: Scene, data: mujoco.MjData) -> np.ndarray:
    return np.concatenate([data.mocap_pos[scene.target], data.mocap_quat[scene.target]])
