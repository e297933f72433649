"""Door `doctor`: what this machine has, what is missing, and the command that mends it."""

import argparse
import importlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from robostack import __version__
from robostack.core.errors import RobostackError
from robostack.ros import environment
from robostack.store.run import ROOM_MB

LIBRARIES = (
    "numpy",
    "scipy",
    "yaml",
    "mujoco",
    "jax",
    "flax",
    "optax",
    "cv2",
    "gymnasium",
    "mcap",
    "rosbags",
    "safetensors",
    "grpc",
    "cryptography",
    "matplotlib",
    "rich",
)
PACKAGE = {
    "yaml": "pyyaml",
    "cv2": "opencv-python",
    "grpc": "grpcio",
}  # import name -> name on PyPI, where they differ
MENDS_PYTHON = "use Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.12 setup"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `mend` is what to do; without it all is well."""

    what: str
    found: str
    mend: str = ""
    is_needed: bool = True  # False: only some things need it


def findings() -> Iterator[Finding]:
    """Everything, one after another; none of the looks changes anything."""
    yield _python()
    for name in LIBRARIES:
        yield _library(name)
    yield _ros()
    yield _launch()
    yield _domain()
    yield _rendering()
    yield _disk()
    yield _cores()
    yield _display()


def _python() -> Finding:
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    found = f"{platform.python_version()} at {sys.prefix}"
    return Finding("Python", found, "" if fits else MENDS_PYTHON)


def _library(name: str) -> Finding:
    package = PACKAGE.get(name, name)
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken binary raises whatever it likes
        return Finding(package, _line(error), f"{sys.executable} -m pip install {package}")
    try:
        return Finding(package, metadata.version(package))
    except metadata.PackageNotFoundError:
        return Finding(package, "there, of unknown version")


def _ros() -> Finding:
    mend = f'source /opt/ros/jazzy/setup.bash, or {sys.executable} -m pip install "robostack[ros]"'
    try:
        rclpy = importlib.import_module("rclpy")
        environment.prepare()
        importlib.import_module("robostack.ros.plant")
    except RobostackError as error:
        return Finding("ROS 2", _line(error), "see the line itself", is_needed=False)
    except Exception as error:
        return Finding("ROS 2", _line(error), mend, is_needed=False)
    place = Path(rclpy.__file__ or "").resolve()
    origin = (
        "wheels" if Path(sys.prefix).resolve() in place.parents else f"sourced, {place.parents[4]}"
    )
    return Finding("ROS 2", f"rclpy from {origin}")


def _launch() -> Finding:
    # Not `launch`: a folder of that name lies in every checkout.
    if not (find_spec("launch_ros") and find_spec("launch_xml")):
        return Finding("ROS 2 launch", "not here; `robostack up` reads launch files itself")
    return Finding("ROS 2 launch", "here; `robostack up` hands over to it")


def _domain() -> Finding:
    try:
        number = environment.domain()
    except RobostackError as error:
        return Finding("ROS domain", _line(error), "export ROS_DOMAIN_ID=0")
    reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return Finding("ROS domain", f"{number}, discovery {reach}; demo and train take a free one")


def _rendering() -> Finding:
    # In a process of its own: a broken driver may take the process with it.
    code = "from robostack.twin import render; render.require()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
        )
        status, said = done.returncode, done.stderr.strip().splitlines()
    except subprocess.TimeoutExpired:
        status, said = 1, ["no picture in 60 s"]
    backend = os.environ.get("MUJOCO_GL", "egl")
    if status == 0:
        return Finding("OpenGL", f"renders with MUJOCO_GL={backend}")
    mend = "apt-get install libegl1 libgl1 libgl1-mesa-dri, and export MUJOCO_GL=egl"
    return Finding("OpenGL", said[-1][:150] if said else f"ended with status {status}", mend)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e6
    if not os.access(Path.cwd(), os.W_OK):
        return Finding(
            "disk", f"{Path.cwd()} may not be written to", "cd to a folder of yours, or use --runs"
        )
    mend = "" if free > ROOM_MB else f"make room: a run needs {ROOM_MB} MB"
    return Finding("disk", f"{free / 1e3:.1f} GB free in {Path.cwd()}", mend)


def _cores() -> Finding:
    count = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    mend = "" if count >= 2 else "a run's processes share one core: expect twice the time"
    return Finding("processor", f"{count} cores, {platform.machine()}", mend, is_needed=False)


def _display() -> Finding:
    name = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return Finding("display", name or "none; films work, --watch does not")


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:150]


def main(argv: list[str] | None = None, look: Callable[[], Iterator[Finding]] = findings) -> int:
    """Prints every finding; status 1 when something needed is missing."""
    parser = argparse.ArgumentParser(prog="robostack doctor", description=__doc__)
    parser.parse_args(argv)
    print(f"robostack {__version__}")
    is_well = True
    for finding in look():
        mark = "ok " if not finding.mend else "BAD" if finding.is_needed else "-- "
        print(f"{mark} {finding.what:<14}{finding.found}")
        if finding.mend:
            print(f"{'':18}mend: {finding.mend}")
            is_well = is_well and not finding.is_needed
    return 0 if is_well else 1
