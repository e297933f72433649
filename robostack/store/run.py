"""The folder of one run: what it was asked to do, with which versions, and everything it made."""

import json
import platform
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from robostack import __version__
from robostack.core import clock
from robostack.core.errors import RobostackError, Unavailable
from robostack.store.disk import explained, write_whole

ROOM_MB = 200  # an hour of practice writes about 50 MB of episodes and 50 MB of parameters
_LIBRARIES = ("numpy", "jax", "jaxlib", "flax", "optax", "mujoco", "mcap", "safetensors")


def write_json(path: Path, value: Any, is_durable: bool = True) -> None:
    """Writes `value` as JSON; a reader sees the old file or the new one. Raises Unavailable."""
    text = json.dumps(value, indent=2, sort_keys=True) + "\n"
    write_whole(path, text.encode(), is_durable)


def read_json(path: Path, missing: Any = None) -> Any:
    """What `write_json` wrote, or `missing` where there is no such file. Raises RobostackError."""
    try:
        with explained("read", path):
            return json.loads(path.read_bytes())
    except Unavailable as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return missing
        raise
    except (ValueError, RecursionError) as error:
        raise RobostackError(f"{path} is not JSON: {error}") from None


def require_room(folder: Path, megabytes: float = ROOM_MB) -> None:
    """Raises Unavailable when the disk of `folder` has less free."""
    with explained("look at the disk of", folder):
        free = shutil.disk_usage(folder).free / 1e6
    if free < megabytes:
        raise Unavailable(
            f"{free:.0f} MB are free on the disk of {folder}, a run needs {megabytes:.0f} MB; "
            "make room there, or choose a folder on another disk"
        )


@dataclass(frozen=True)
class Run:
    """One run's folder. `episodes/` and `params/` belong to store.episode and store.params."""

    path: Path

    @staticmethod
    def create(root: Path | str, name: str, config: Mapping[str, Any] | None = None) -> "Run":
        """Makes `<root>/<date>-<time>-<name>/`; `name` is <task>-<robot>-s<seed>. Raises Unavailable.

        Writes config.json and versions.json at once, so that a run which dies young still says what it was.
        """
        root = Path(root)
        with explained("make", root):
            root.mkdir(parents=True, exist_ok=True)
        require_room(root)
        stamp = clock.wall_time()[:19].replace("-", "").replace(":", "").replace("T", "-")  # UTC
        run = Run(_new_folder(root, f"{stamp}-{name}"))
        with explained("make folders in", run.path):
            run.episodes.mkdir()
            run.params.mkdir()
        write_json(run.path / "config.json", dict(config or {}))
        write_json(run.path / "versions.json", versions())
        return run

    @staticmethod
    def open(path: Path | str) -> "Run":
        """A run that is there. Raises RobostackError for any other folder."""
        path = Path(path)
        if not (path / "config.json").is_file():
            raise RobostackError(f"{path} is not a run folder: it holds no config.json")
        return Run(path)

    @property
    def episodes(self) -> Path:
        return self.path / "episodes"

    @property
    def params(self) -> Path:
        return self.path / "params"

    @property
    def id(self) -> str:
        """Tells this run from another of the same name, on any machine; made when first asked for."""
        path = self.path / "run.json"
        if not path.exists():
            write_json(path, {"id": secrets.token_hex(16)})
        return str(read_json(path)["id"])

    @property
    def seat(self) -> str:
        """Tells this folder from its copies and from other actors' folders of this run, on this machine."""
        stat = self.path.stat()
        return f"{self.id}-{stat.st_dev:x}-{stat.st_ino:x}"

    @property
    def config(self) -> dict[str, Any]:
        return read_json(self.path / "config.json", {})


def versions() -> dict[str, str]:
    """Versions of this program and of the libraries installed beside it; imports none of them."""
    found = {"robostack": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def _new_folder(root: Path, name: str) -> Path:
    """Two runs may start within one second; the second gets a number."""
    for attempt in range(1, 100):
        path = root / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            with explained("make", path):
                path.mkdir()
            return path
        except Unavailable as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
    raise Unavailable(f"cannot make {root / name}: a hundred runs have that name already")
