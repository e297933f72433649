"""Pictures of a cell, through EGL where there is no display."""

import os

import mujoco
import numpy as np

from robostack.core.errors import Unavailable
from robostack.twin.scene import PREFIX, Scene

os.environ.setdefault("MUJOCO_GL", "egl")


class Camera:
    """Owns a renderer for one of the scene's cameras. Close it: a forgotten one complains at exit."""

    def __init__(self, scene: Scene, name: str, height: int, width: int):
        try:
            self._renderer = mujoco.Renderer(scene.model, height, width)
        except Exception as error:  # MuJoCo raises whatever its GL backend raised
            raise Unavailable(
                f"cannot render ({os.environ['MUJOCO_GL']}: {str(error).splitlines()[0]}); "
                "install OpenGL with `apt-get install libegl1 libgl1-mesa-dri`, or train without cameras"
            ) from None
        self._camera = PREFIX + name

    def render(self, data: mujoco.MjData) -> np.ndarray:
        """(height, width, 3) uint8, RGB."""
        self._renderer.update_scene(data, camera=self._camera)
        return self._renderer.render()

    def close(self) -> None:
        """May be called twice."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
