"""The MuJoCo mirror of a cell."""

import os

# MuJoCo chooses its OpenGL when it is imported. EGL needs no display; software Mesa is enough.
os.environ.setdefault("MUJOCO_GL", "egl")
