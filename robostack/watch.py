"""A window on a mirror: MuJoCo's viewer follows the cell."""

import os

from robostack.core import clock
from robostack.core.errors import Unavailable
from robostack.twin.plant import TwinPlant

LOOK_AT = (0.4, 0.0, 0.2)  # m, base frame
GOODBYE = (
    0.5  # s that the viewer's own thread takes to let go of the window; exiting earlier crashes it
)


def require_display() -> None:
    """Raises Unavailable where no window can be opened."""
    if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        raise Unavailable(
            "--watch needs a display, and DISPLAY is not set; leave it out to get a film"
        )


def watched(twin: TwinPlant) -> TwinPlant:
    """The same cell, shown as it moves. The window may be closed; the cell goes on. The cell's close() closes it."""
    require_display()
    from mujoco import viewer  # opens GLFW when imported

    data = twin.data
    window = viewer.launch_passive(twin.scene.model, data, show_left_ui=False, show_right_ui=False)
    with window.lock():
        window.cam.lookat[:] = LOOK_AT
        window.cam.distance, window.cam.azimuth, window.cam.elevation = 1.3, 150.0, -20.0

    def look() -> None:
        if window.is_running():
            with window.lock():
                twin.cells.data(0, data)
            window.sync()

    def close() -> None:
        window.close()
        clock.sleep(GOODBYE)

    twin.on_move, twin.on_close = look, close
    return twin
