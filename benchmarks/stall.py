"""B.7: what store takes of a control tick in real time: a step with two pictures to disk and on its way to a learner,
new parameters taken up, progress told.

Meanwhile the link's server is killed every few seconds, so that the courier loses it, finds it again and catches up;
a learner trains, publishes parameters and writes a checkpoint every second, on the same disk and cores. The loop runs
at 50 Hz, five times the control rate, for enough ticks. `idle` is the same time taken by an empty function instead:
what the machine does to any tick.
"""

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import common, made_up
from benchmarks.rows import Row, row
from robostack import config as configs
from robostack.config import RunConfig
from robostack.core import clock, observe
from robostack.core.spec import Spec
from robostack.learn.learner import Learner
from robostack.learn.policy import LearnedPolicy, publish
from robostack.progress import Progress
from robostack.store import params, spool, state
from robostack.store.episode import EpisodeWriter
from robostack.store.newest import Newest
from robostack.store.run import Run

RATE = 50.0  # Hz
LENGTH = 500  # steps an episode
BUSY_S = 3e-4  # s
NICE = 10  # as `robostack train` starts the learner of a cell in real time


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--kill-every", type=float, default=7.0, help="s")
    parser.add_argument("--learn", type=Path, help=argparse.SUPPRESS)  # this process is the learner


def measure(given: argparse.Namespace) -> list[Row]:
    if given.learn:
        learn(given.learn)
    config = RunConfig(lockstep=False, pictures=configs.KINDS)
    with tempfile.TemporaryDirectory() as name:
        run = Run.create(Path(name) / "cell", config.name, configs.as_dict(config))
        there = Path(name) / "learner" / run.path.name
        link = Link(Path(name) / "learner", run)
        learner = start("benchmarks.stall", "--learn", str(there), nice=NICE)
        try:
            wait_for(lambda: params.latest_version(run.params) >= 0, "parameters over the link")
            ticks = drive(run, config, link, given)
        finally:
            learner.kill()
            learner.wait()
            link.close()
    stalls = ticks[:, :3].sum(1)
    print(f"{len(stalls)} ticks, {link.kills} times without a server; ms:")
    for name, part in zip(("append", "parameters", "progress", "idle"), ticks.T, strict=True):
        print(f"{name:12} " + tail(part))
    windows = [np.percentile(part, 99.9) for part in np.array_split(stalls, 10)]
    return [row("B.7", np.percentile(stalls, 99.9), windows), row("B.7b", stalls.max())]


def tail(ms: np.ndarray) -> str:
    middle, late, later = np.percentile(ms, (50, 99, 99.9))
    return f"median {middle:.2f}, 99 % {late:.2f}, 99.9 % {later:.2f}, longest {ms.max():.2f}"


class Link:
    """Owns the processes of both ends; the server's are killed on purpose."""

    def __init__(self, runs: Path, run: Run):
        self._runs, self._address = runs, f"127.0.0.1:{free_port()}"
        runs.mkdir()
        self.kills = 0
        self._server = self._serve()
        self._courier = start(
            "robostack", "link", "join", str(run.path), "--learner", self._address
        )
        self._at = clock.now()

    def _serve(self) -> subprocess.Popen:
        return start("robostack", "link", "serve", str(self._runs), "--listen", self._address)

    def trouble(self, every: float) -> None:
        """Down for a second of every `every` s."""
        age = clock.now() - self._at
        if self._server.poll() is None and age > every:
            self._server.kill()
            self.kills, self._at = self.kills + 1, clock.now()
        elif self._server.returncode is not None and age > 1.0:
            self._server, self._at = self._serve(), clock.now()

    def close(self) -> None:
        for process in (self._courier, self._server):
            process.kill()
            process.wait()


def drive(run: Run, config: RunConfig, link: Link, given: argparse.Namespace) -> np.ndarray:
    """(ticks, 4) ms: append, parameters, progress, idle."""
    spec = observe.spec_of(config.load_task())
    policy = load(run.params, spec)
    newest = Newest(run.params, spec, policy.ready, policy.version)
    writer = EpisodeWriter(run.episodes, spec, spool.place(run.id))
    progress, pool = Progress(run.path / "actor.json"), made_up.pictures()
    ticker, found, taken = clock.Ticker(1.0 / RATE), [], 0
    ticker.start()
    for episode in made_up.recorded(spec, int(given.seconds * RATE / LENGTH), length=LENGTH):
        index, frames = episode.header.index, episode.observations
        writer.begin(episode.header, frames[0], made_up.samples(pool, index, 0))
        for i, step in enumerate(episode.steps):
            ticker.wait()
            link.trouble(given.kill_every)
            policy.act(frames[i], None)
            seen = made_up.samples(pool, index, i + 1)
            idle = time.perf_counter()
            nothing()
            begun = time.perf_counter()
            writer.append(step, frames[i + 1], seen)
            appended = time.perf_counter()
            if (ready := newest.take()) is not None:
                policy.take(ready)
                taken += 1
            taken_up = time.perf_counter()
            progress.write()
            told = time.perf_counter()
            parts = (appended - begun, taken_up - appended, told - taken_up)
            found.append((*parts, begun - idle - BUSY_S))
        writer.end()
    newest.close()
    progress.close()
    print(f"parameters were taken up {taken} times")
    return 1e3 * np.array(found)


def nothing() -> None:
    """As long as store's median, without a system call: what preempts this preempts any tick."""
    until = time.perf_counter() + BUSY_S
    while time.perf_counter() < until:
        pass


def load(folder: Path, spec: Spec) -> LearnedPolicy:
    return LearnedPolicy(spec, params.load(params.path_of(folder, params.latest_version(folder))))


def learn(path: Path) -> None:
    """Trains, publishes and writes a checkpoint every second, until it is killed."""
    wait_for(lambda: (path / "config.json").exists(), "the run at the learner")
    run = Run.open(path)
    spec = observe.spec_of(configs.from_dict(run.config).load_task())
    learner = Learner(spec, configs.from_dict(run.config).learner, seed=0)
    learner.add(made_up.episodes(spec, 40))
    writer, version, last = state.Writer(run.path / "state", keep=3), 0, -1.0
    while True:
        learner.train(20)
        if clock.now() - last > 1.0:
            last = clock.now()
            publish(run.params, version, learner.acting, learner.algorithm.network, spec)
            writer.save(state.Checkpoint(learner.steps, learner.arrays(), spec))
            version += 1


def start(*words: str, nice: int = 0) -> subprocess.Popen:
    command = [*(["nice", "-n", str(nice)] if nice else []), sys.executable, "-m", *words]
    return subprocess.Popen(command, env=common.child_environment(), stdout=subprocess.DEVNULL)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(is_there: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = clock.now() + seconds
    while not is_there():
        if clock.now() > deadline:
            raise TimeoutError(f"no {what} within {seconds:.0f} s")
        time.sleep(0.05)


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
