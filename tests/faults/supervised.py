"""Small runs as a user starts them, and ways to hurt them."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from robostack.core import clock
from robostack.store import params
from robostack.store.episode import NothingWhole, episode_paths, recover
from robostack.store.run import Run, read_json

ROOT = Path(__file__).parents[2]
SMALL = [
    "demonstrations=3", "warmup=20", "check_every=2", "check_from=0.0", "check_episodes=2",
    "validation=2", "evaluation=2", "learner.widths=[16,16]", "learner.batch=16", "capacity=5000",
]  # fmt: skip
WITHOUT_END = ["steps=100000", "perfect_checks=99"]
# The door, as its program runs it, with less patience and shorter pauses: a test cannot wait for three minutes.
IMPATIENT = """
import sys
from robostack import cli, train
from robostack.ros import processes
from robostack.store.pulse import Patience
later = float(sys.argv.pop(1))
train.PATIENCE = dict.fromkeys(train.PATIENCE, Patience(90.0, later))
train.NODE = Patience(90.0, later)
processes.PAUSES_S = (0.1, 0.2, 0.3)
sys.exit(cli.main())
"""
LATER_S = 60.0  # s of silence that are enough even for compiling on a busy machine
MODULES = {"mirror": "mirror", "guard": "guard", "learner": "learn", "actor": "act"}


class Train:
    """A running `robostack train`, new in `runs` or by its command line."""

    def __init__(self, *words: str, later: float = LATER_S):
        self.process = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, str(later), "train", "--no-film", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.out = ""

    @classmethod
    def new(cls, runs: Path, *settings: str, later: float = LATER_S) -> "Train":
        words = [word for setting in (*SMALL, *settings) for word in ("--set", setting)]
        return cls("--task", "reach", "--runs", str(runs), *words, later=later)

    @classmethod
    def resumed(cls, said: str, later: float = LATER_S) -> "Train":
        """By the command that an ended run printed."""
        found = re.findall(r"robostack (train --resume .*?)`?$", said, re.MULTILINE)
        assert found, said
        return cls(*shlex.split(found[-1])[1:], later=later)

    def pid(self, name: str) -> int:
        """Of one of its processes, once it is there."""
        deadline = clock.now() + 60.0
        while clock.now() < deadline and self.process.poll() is None:
            for pid in self.children():
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                except OSError:
                    continue
                if (
                    any(Path(word).name == MODULES[name] for word in words)
                    and "setpriv" not in words
                ):
                    return pid
            clock.sleep(0.02)
        raise AssertionError(f"no process {name}")

    def children(self) -> list[int]:
        command = ["pgrep", "-P", str(self.process.pid)]
        return [int(pid) for pid in subprocess.run(command, capture_output=True).stdout.split()]

    def hurt(self, name: str, number: signal.Signals) -> int:
        os.kill(pid := self.pid(name), number)
        return pid

    def hurt_if_there(self, name: str) -> str:
        """SIGKILL to one of its processes, or to itself; the name, "" where there is none (yet)."""
        if name == "train":
            self.process.kill()
            return name
        try:
            self.hurt(name, signal.SIGKILL)
        except (AssertionError, ProcessLookupError):
            return ""
        return name

    def end(self, timeout: float = 90.0) -> int:
        """Waits for the end; its exit status."""
        self.out += self.process.communicate(timeout=timeout)[0]
        return self.process.returncode

    def wait(self, runs: Path, is_far_enough, seconds: float = 80.0) -> Run:
        """The run, once it got so far."""
        deadline = clock.now() + seconds
        while clock.now() < deadline:
            if self.process.poll() is not None:
                self.end()
                raise AssertionError(self.out)
            folders = list(runs.iterdir()) if runs.exists() else []
            if folders and (folders[0] / "params").exists() and is_far_enough(Run(folders[0])):
                return Run.open(folders[0])
            clock.sleep(0.02)
        raise AssertionError(f"not far enough in {seconds} s")

    def wait_for_episodes(self, runs: Path, count: int) -> Run:
        return self.wait(runs, lambda run: episodes(run) >= count)


@contextmanager
def training(train: Train) -> Iterator[Train]:
    """Leaves nothing behind, whatever a test does."""
    try:
        yield train
    finally:
        for pid in train.children() if train.process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
        train.process.kill()
        train.process.communicate()


def episodes(run: Run) -> int:
    return len(episode_paths(run.episodes))


def log(run: Run) -> str:
    return (run.path / "log.txt").read_text()


def learner_steps(run: Run) -> int:
    return read_json(run.path / "learner.json", {}).get("learner_steps", 0)


def best(run: Run) -> dict[str, np.ndarray]:
    """Weights of the policy that the run chose."""
    version = params.pinned_version(run.params)
    return dict(params.load(params.path_of(run.params, version)).arrays)


def require_nothing_lost(run: Run) -> None:
    """Every episode is whole, but the newest one, of which each step that was finished is there."""
    *before, newest = episode_paths(run.episodes)
    assert all(recover(path).is_complete for path in before)
    with suppress(NothingWhole):  # cut before its first step
        recover(newest)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()[0] in "ZX"
    except FileNotFoundError:
        return True
