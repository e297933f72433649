"""gym-hil from PyPI in a virtual environment of its own, measured in a process beside us, in turns with us."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

from robostack.ros.environment import ONE_THREAD

PINS = ("gym-hil==0.1.14", "mujoco==3.8.1")
WORKER = Path(__file__).with_name("peer_worker.py")


class GymHil:
    """Owns the process. While it is not asked it sleeps; use as a context."""

    def __init__(self, images: bool):
        # Threads only cost it: its arrays are small.
        environment = {**os.environ, **ONE_THREAD, "MUJOCO_GL": "egl"}
        environment.pop("PYTHONPATH", None)
        self._process = subprocess.Popen(
            [str(_python()), str(WORKER), *(["--images"] if images else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.facts = self._answer()  # versions and physics steps per control step

    def rate(self, steps: int) -> float:
        """Control steps/s over so many, resets included."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return steps / self._answer()["seconds"]

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # pygame greets on the same stream
                return json.loads(line)
        raise RuntimeError(f"gym-hil's process ended with status {self._process.wait()}")

    def __enter__(self) -> "GymHil":
        return self

    def __exit__(self, *_) -> None:
        self._process.communicate("", timeout=10)


def _python() -> Path:
    """The interpreter of the environment, made on first use and kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robostack-bench"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / f"{'-'.join(PINS).replace('==', '-')}-py{version}"
    python, ready = folder / "bin/python", folder / "ready"
    if not ready.exists():
        print(f"making {folder} with {', '.join(PINS)}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PINS]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"pip could not install {', '.join(PINS)}: {done.stderr[-500:]}")
        ready.touch()
    return python
