"""Random looks of a compiled cell: colours, light, sky, cameras, clutter. Physics does not see any of it.

Fields of the model are drawn anew around the values it was built with, and `restore` puts exactly those back.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from robostack.twin.scene import PREFIX, Scene

# What a look may change; nothing here enters the motion.
FIELDS = (
    "geom_rgba",
    "light_pos",
    "light_dir",
    "light_diffuse",
    "light_ambient",
    "light_specular",
    "cam_pos",
    "cam_quat",
    "cam_fovy",
    "tex_data",
)
HEADLIGHT = ("ambient", "diffuse", "specular")
SHAPES = (mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CYLINDER)


@dataclass(frozen=True)
class Range:
    """How far a look goes from how the cell was built."""

    hue: float = 1.0  # share of geoms that get a colour of their own; the rest keep theirs, nearly
    shade: float = 0.08  # standard deviation of a kept colour
    camera_shift: float = 0.006  # m, standard deviation per axis, of a wrist camera
    camera_turn: float = 0.02  # rad, likewise
    far_shift: float = 0.04  # m, of a camera that stands in the world
    far_turn: float = 0.04  # rad
    field_of_view: float = 0.05  # standard deviation of its logarithm
    clutter: int = 6  # most loose things beside the work


class Looks:
    """Owns the pristine look of one scene's model, and the model while it looks otherwise."""

    def __init__(self, scene: Scene, how: Range | None = None):
        self._scene, self._how = scene, how or Range()
        model = scene.model
        self._pristine = {name: getattr(model, name).copy() for name in FIELDS}
        headlight = model.vis.headlight
        self._headlight = {name: np.array(getattr(headlight, name)) for name in HEADLIGHT}

    def restore(self) -> None:
        """The model as it was built, bit for bit."""
        for name, value in self._pristine.items():
            getattr(self._scene.model, name)[:] = value
        for name, value in self._headlight.items():
            getattr(self._scene.model.vis.headlight, name)[:] = value

    def draw(self, rng: np.random.Generator) -> None:
        """Another look, drawn around the pristine one and not around the last."""
        self.restore()
        self._paint(rng)
        self._light(rng)
        self._sky(rng)
        for camera in range(self._scene.model.ncam):
            self._aim(camera, rng)

    def _paint(self, rng: np.random.Generator) -> None:
        """Every geom a colour: of its own, or nearly the one it has. Parts of one colour mostly stay alike."""
        model, how = self._scene.model, self._how
        _, kinds = np.unique(self._pristine["geom_rgba"].round(3), axis=0, return_inverse=True)
        shared = rng.uniform(0.03, 1.0, (kinds.max() + 1, 3))[kinds.reshape(-1)]
        grey = rng.random((model.ngeom, 1)) < 0.3  # much of the world has no hue
        shared = np.where(grey, shared.mean(1, keepdims=True), shared)
        shared += rng.normal(0.0, 0.03, shared.shape)
        kept = self._pristine["geom_rgba"][:, :3] + rng.normal(0.0, how.shade, (model.ngeom, 3))
        is_new = rng.random((model.ngeom, 1)) < how.hue * rng.random()
        model.geom_rgba[:, :3] = np.clip(np.where(is_new, shared, kept), 0.0, 1.0)

    def _light(self, rng: np.random.Generator) -> None:
        model = self._scene.model
        model.light_pos[:] += rng.normal(0.0, 0.5, model.light_pos.shape)
        model.light_dir[:] += rng.normal(0.0, 0.35, model.light_dir.shape)
        model.light_dir[:] /= np.linalg.norm(model.light_dir, axis=1, keepdims=True)
        tint = rng.uniform(0.85, 1.15, 3)
        model.light_diffuse[:] = np.clip(rng.uniform(0.1, 0.9) * tint, 0.0, 1.0)
        model.light_specular[:] = rng.uniform(0.0, 0.5)
        headlight = model.vis.headlight
        headlight.ambient[:] = np.clip(rng.uniform(0.15, 0.55) * tint, 0.0, 1.0)
        headlight.diffuse[:] = rng.uniform(0.1, 0.7)
        headlight.specular[:] = rng.uniform(0.0, 0.5)

    def _sky(self, rng: np.random.Generator) -> None:
        """A gradient between two colours, or a coarse pattern of many: a room is no sky."""
        model = self._scene.model
        for texture in range(model.ntex):
            channels = int(model.tex_nchannel[texture])
            height, width = int(model.tex_height[texture]), int(model.tex_width[texture])
            start = int(model.tex_adr[texture])
            if rng.random() < 0.5:
                ends = rng.uniform(0.0, 255.0, (2, 1, channels))
                part = np.linspace(0.0, 1.0, height)[:, None]
                rows = ends[0] * (1 - part) + ends[1] * part
                picture = np.broadcast_to(rows[:, None], (height, width, channels))
            else:
                cell = 8
                coarse = rng.uniform(0.0, 255.0, (height // cell + 1, width // cell + 1, channels))
                picture = coarse.repeat(cell, 0).repeat(cell, 1)[:height, :width]
            model.tex_data[start : start + height * width * channels] = picture.astype(
                np.uint8
            ).reshape(-1)

    def _aim(self, camera: int, rng: np.random.Generator) -> None:
        model, how = self._scene.model, self._how
        is_far = model.cam_bodyid[camera] == 0
        shift = how.far_shift if is_far else how.camera_shift
        turn = how.far_turn if is_far else how.camera_turn
        model.cam_pos[camera] += rng.normal(0.0, shift, 3)
        mujoco.mju_quatIntegrate(model.cam_quat[camera], rng.normal(0.0, turn, 3), 1.0)
        model.cam_fovy[camera] *= np.exp(rng.normal(0.0, how.field_of_view))

    def clutter(self, rng: np.random.Generator, avoid: np.ndarray, view: mujoco.MjvScene) -> None:
        """Adds loose things on the table to what a renderer is about to draw. They are in no model.

        `avoid`: (n, 3) m, base frame; nothing is put within 12 cm of these, seen from above.
        """
        for _ in range(rng.integers(0, self._how.clutter + 1)):
            size = rng.uniform(0.01, 0.05, 3)
            place = np.array([rng.uniform(0.1, 1.0), rng.uniform(-0.5, 0.5), size[2]])
            if np.linalg.norm(avoid[:, :2] - place[:2], axis=1).min() < 0.12:
                continue
            yaw = rng.uniform(-np.pi, np.pi)
            turn = np.array(
                [[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]]
            )
            if view.ngeom >= view.maxgeom:
                return
            colour = np.append(rng.uniform(0.0, 1.0, 3), 1.0).astype(np.float32)
            shape = SHAPES[rng.integers(len(SHAPES))]
            mujoco.mjv_initGeom(
                view.geoms[view.ngeom], shape, size, place, turn.reshape(-1), colour
            )
            view.ngeom += 1


def expose(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture (H, W, 3) uint8 as another camera would have taken it: gain, white balance, contrast, noise."""
    values = picture.astype(np.float32) / 255.0
    if rng.random() < 0.3:  # uneven light, a lens that darkens: a smooth field over the picture
        height, width = picture.shape[:2]
        slope = rng.uniform(-0.35, 0.35, 2)
        y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None, None]
        x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :, None]
        values = values * np.float32(1.0) + values * (slope[0] * x + slope[1] * y).astype(
            np.float32
        )
    gain = np.exp(rng.normal(0.0, 0.2)) * np.exp(rng.normal(0.0, 0.06, 3))
    values = np.clip(values * gain.astype(np.float32), 0.0, 1.0)
    values = values ** np.float32(np.exp(rng.normal(0.0, 0.2)))
    sigma = rng.uniform(0.0, 0.04) if rng.random() < 0.7 else 0.0
    if sigma:
        values = values + np.float32(sigma) * rng.standard_normal(values.shape, dtype=np.float32)
    return (np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def camera_id(scene: Scene, name: str) -> int:
    """The model's number of a scene's camera."""
    return scene.model.camera(PREFIX + name).id
