"""B.8: two-camera transitions per second over loopback with TLS and a token, durable at the receiver, from process to
process; and how soon a published version of the parameters is whole at the actor."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import common, made_up
from benchmarks.rows import Row, row
from robostack.core import catalog, clock, observe
from robostack.core.spec import Spec
from robostack.store import params
from robostack.store.episode import episode_paths
from robostack.store.link import keys
from robostack.store.run import Run

LENGTH = 100  # steps of an episode
MEGABYTES = 5.0  # of a version of the parameters
PATIENCE_S = 120.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--episodes", type=int, default=20, help=f"of {LENGTH} steps, a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--versions", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: temporary")


def measure(given: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        root = Path(folder)
        spec = observe.spec_of(catalog.task("reach"))
        run = Run.create(root / "cell", "reach-fr3-s0", {"task": "reach", "lockstep": False})
        keys.make(root / "keys", ["127.0.0.1"], days=1)
        for _ in made_up.record(run.episodes, spec, given.episodes, length=LENGTH):
            pass
        sizes = [path.stat().st_size for path in episode_paths(run.episodes)]
        print(f"{sum(sizes) / LENGTH / len(sizes) / 1e3:.1f} kB a transition")
        rates = [
            _catch_up(run, root / f"learner-{repeat}", root / "keys") * LENGTH
            for repeat in range(given.repeats)
        ]
        delays = _publish(run, root / "learner-0", root / "keys", spec, given.versions)
    return [
        row("B.8", common.median(rates), rates),
        row("B.8b", max(delays), delays),
    ]


def _catch_up(run: Run, runs: Path, folder: Path) -> float:
    """Episodes a second, from the connection to an empty learner to the last acknowledgement from its disk."""
    with _Link(run, runs, folder) as link:
        start = clock.now()
        link.expect("caught up")
        seconds = clock.now() - start
        ours, there = episode_paths(run.episodes), runs / run.path.name / "episodes"
        assert all(path.read_bytes() == (there / path.name).read_bytes() for path in ours)
    return len(ours) / seconds


def _publish(run: Run, runs: Path, folder: Path, spec: Spec, versions: int) -> list[float]:
    """Seconds from a version whole at the learner to the same whole at the actor."""
    learner, delays = Run(runs / run.path.name), []
    weights = {"w": np.zeros(int(MEGABYTES * 1e6 / 4), np.float32)}
    with _Link(run, runs, folder):
        for version in range(versions):
            params.save(learner.params, version, weights, spec)
            start, here = clock.now(), params.path_of(run.params, version)
            _await(here.exists)
            delays.append(clock.now() - start)
            params.load(here, spec)
            clock.sleep(0.1)
    return delays


class _Link:
    """Owns both ends, as processes of their own."""

    def __init__(self, run: Run, runs: Path, folder: Path):
        self._serve = _start("serve", runs, "--listen", "127.0.0.1:0", "--keys", folder)
        assert self._serve.stdout
        line = self._serve.stdout.readline()
        assert "listening at" in line, line
        address = line.split()[2].rstrip(";")
        self._join = _start("join", run.path, "--learner", address, "--keys", folder)
        assert self._join.stdout
        self.expect("connected")

    def expect(self, words: str) -> None:
        """Waits for the courier's next line."""
        assert self._join.stdout
        assert words in (line := self._join.stdout.readline()), line

    def __enter__(self) -> "_Link":
        return self

    def __exit__(self, *_) -> None:
        for process in (self._join, self._serve):
            process.terminate()
            process.communicate(timeout=10)


def _start(*words: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "robostack", "link", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=common.child_environment()
    )


def _await(is_so: Callable[[], bool]) -> None:
    end = clock.now() + PATIENCE_S
    while not is_so():
        if clock.now() > end:
            raise TimeoutError(f"not within {PATIENCE_S} s")
        clock.sleep(0.002)


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
