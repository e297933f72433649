"""Pictures of a cell, through EGL where there is no display."""

import os

import mujoco
import numpy as np

from robostack.core.errors import Unavailable
from robostack.twin.scene import PREFIX, Scene


def open_renderer(model: mujoco.MjModel, height: int, width: int) -> mujoco.Renderer:
    """A renderer for pictures of this size, px. Raises Unavailable where there is no OpenGL."""
    try:
        return mujoco.Renderer(model, height, width)
    except Exception as error:  # MuJoCo raises whatever its GL backend raised
        raise Unavailable(
            f"cannot render with MUJOCO_GL={os.environ['MUJOCO_GL']}: {str(error).splitlines()[0][:120]}; "
            "install OpenGL with `apt-get install libegl1 libgl1-mesa-dri`, or leave pictures out (--no-film)"
        ) from None


def require() -> None:
    """Raises Unavailable where nothing can be rendered; for asking before hours of work."""
    open_renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8).close()


class Camera:
    """Owns a renderer for one of the scene's cameras. Close it: a forgotten one complains at exit."""

    def __init__(self, scene: Scene, name: str, height: int, width: int):
        self._renderer: mujoco.Renderer | None = open_renderer(scene.model, height, width)
        self._camera = PREFIX + name
        # MuJoCo's fovy is vertical; pixels are square.
        focal = 0.5 * height / np.tan(0.5 * np.deg2rad(scene.model.camera(self._camera).fovy[0]))
        self.intrinsics = np.array(
            [[focal, 0.0, 0.5 * width], [0.0, focal, 0.5 * height], [0.0, 0.0, 1.0]]
        )

    def render(self, data: mujoco.MjData) -> np.ndarray:
        """(height, width, 3) uint8, RGB."""
        assert self._renderer is not None, "rendering with a closed camera"
        self._renderer.update_scene(data, camera=self._camera)
        return self._renderer.render()

    def close(self) -> None:
        """May be called twice."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
