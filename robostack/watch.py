"""A window on a mirror: MuJoCo's viewer follows the cell."""

import os

from robostack.core.errors import Unavailable
from robostack.twin.plant import TwinPlant


def require_display() -> None:
    """Raises Unavailable where no window can be opened."""
    if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        raise Unavailable("--watch needs a display, and DISPLAY is not set; leave it out to get a film")


def watched(twin: TwinPlant) -> TwinPlant:
    """The same cell, shown as it moves. The window may be closed; the cell goes on. The cell's close() closes it."""
    require_display()
    from mujoco import viewer  # opens GLFW when imported

    data = twin.data
    window = viewer.launch_passive(twin.scene.model, data)

    def look() -> None:
        if window.is_running():
            with window.lock():
                twin.cells.data(0, data)
            window.sync()

    twin.on_move, twin.on_close = look, window.close
    return twin
