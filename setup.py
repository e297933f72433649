"""Installs robostack, for pip and for colcon (ament_python) alike.

All metadata is here and in setup.cfg: colcon cannot build a folder whose pyproject.toml has a
[project] table. Robots, tasks and calibration live at the top of the repository and appear inside
the package through relative links, so `robostack.robots.<name>` is their one import path in a
checkout, a wheel, an editable install and a colcon workspace.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

NAME = "robostack"
VERSION = re.search(r'^__version__ = "(.+)"', Path(NAME, "__init__.py").read_text(), re.M)[1]

# What one machine without a GPU needs for everything. Lower bounds are what we test against or the
# first release with a feature we call; nothing is capped, so a workspace can move on without us.
REQUIRES = [
    "numpy>=2.0",
    "pyyaml>=6.0",
    "mujoco>=4.0",  # batch, sysid, actuator and sensor delay
    "jax>=0.10",
    "flax>=0.12",
    "optax>=0.2.5",
    "scipy>=1.14",  # study: exact intervals; JAX brings it anyway
    "opencv-python>=4.12",
    "gymnasium>=1.2",
    "mcap>=1.2",
    "rosbags>=0.11",  # ROS 2 messages in episode files, where there is no ROS 2
    "safetensors>=0.5",
    "grpcio>=1.80",  # store/link: HTTP/2 between two machines, with TLS and keepalive
    "cryptography>=45",  # certificates of store/link
    "matplotlib>=3.9",
    "rich>=13.9",
]

# ROS 2 Jazzy from wheels, for machines where it is not sourced; there are none but x86-64. Always
# the ros-jazzy-* names: the bare ros-* ones take the newest distribution and mix it in.
ROS = [
    f"ros-jazzy-{package}; platform_machine == 'x86_64'"
    for package in (
        "rclpy>=7.1",
        "rmw-fastrtps-cpp>=8.4",
        "std-msgs",
        "geometry-msgs",
        "sensor-msgs",
        "std-srvs",
        "trajectory-msgs",
        "diagnostic-msgs",
        "rosgraph-msgs",
        "lifecycle-msgs",
    )
]

# LeRobot's datasets in and out: tables, and films. 15 is the PyAV that lerobot itself asks for.
LEROBOT = ["pyarrow>=21", "av>=15"]

DEV = [
    *LEROBOT,
    "pytest>=8.3,<9",  # A sourced Jazzy brings launch_testing, which pytest 9 fails to load.
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "hypothesis>=6.100",
    "atheris>=3.0; platform_machine == 'x86_64'",  # benchmarks/fuzz.py; there are no other wheels
    "mcap-ros2-support>=0.5",  # The independent reader that episode files are tested with.
    "jsonschema>=4.20",  # Checks the schemas that episode files carry.
    "ruff>=0.14",
    "pyright[nodejs]>=1.1.400",
    "setuptools>=70.1",  # For builds without isolation: the first to have bdist_wheel.
    "colcon-core>=0.20",
    "colcon-ros>=0.5",
]

# Beside the code in every package, so that a robot or a task with a picture or a mesh is still one
# folder and no other change.
PACKAGE_DATA = [
    "*.xml",
    "*.yaml",
    "*.json",
    "*.md",
    "*.png",
    "*.html",
    "*.css",
    "*.js",
    "meshes/*",
    "textures/*",
    "weights/*.safetensors",
]


def tree(folder: str) -> list[tuple[str, list[str]]]:
    """data_files entries that put `folder`, with its subfolders, under <prefix>/share/robostack."""
    files: dict[str, list[str]] = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and path.suffix in {".xml", ".yaml"}:
            files.setdefault(f"share/{NAME}/{path.parent}", []).append(str(path))
    return list(files.items())


setup(
    name=NAME,
    version=VERSION,
    description="Teach a real robot arm a contact-rich task in an hour or two",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),  # Follows the links.
    package_data={"": PACKAGE_DATA},
    zip_safe=False,
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *tree("launch"),
        # Where `ros2 run` and launch look for executables; pip's own scripts go to bin/ only.
        (f"lib/{NAME}", sorted(str(path) for path in Path("libexec").iterdir() if path.is_file())),
    ],
    install_requires=REQUIRES,
    extras_require={"ros": ROS, "lerobot": LEROBOT, "dev": DEV},
    entry_points={"console_scripts": [f"{NAME} = {NAME}.cli:main"]},
)
