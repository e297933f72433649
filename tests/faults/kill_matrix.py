"""Actor, courier, server, learner: killed at random moments and started again, and what is left of it by the oracle."""

import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from robostack.core import clock
from robostack.store import params, spool, state
from robostack.store.episode import CUT, NothingWhole, episode_paths, recover
from robostack.store.run import Run
from tests.faults.oracle import KIND
from tests.faults.programs import STOP, Settings, told, weights

ROOT = Path(__file__).parents[2]
VICTIMS = {"actor": 0.35, "courier": 0.25, "server": 0.2, "learner": 0.2}
NAME = "oracle-fr3-s0"
PATIENCE_S = 60.0  # until what was played has come through, on a busy machine
ROUNDS = {  # of the long form
    "as on a cell": Settings(size=128),
    "as fast as it goes": Settings(period=0.0, capacity=2000),
    "in lockstep": Settings(lockstep=True, period=0.002),
}
BOTH = 0.15  # how often two are killed at once
AT_WORK = 0.6  # how often none is killed before actor and learner have done something
PAUSE = 0.3  # how often one stays away for a while


@dataclass(frozen=True)
class Verdict:
    """What a matrix leaves behind."""

    kills: dict[str, int]
    episodes: int
    steps: int  # written, that is acknowledged to the control loop
    lost: int  # of those
    lost_in_flight: int  # most of one kill: steps whose write had begun and had not returned
    checked: int  # transitions of the replay memory and of every batch that was drawn
    wrong: list[str] = field(default_factory=list)
    versions: int = 0  # of parameters that arrived at the actor

    def __str__(self) -> str:
        return (
            f"{sum(self.kills.values())} kills {self.kills}; {self.steps} steps in {self.episodes} episodes, "
            f"{self.lost} lost, {self.lost_in_flight} in flight; {self.checked} transitions checked, "
            f"{len(self.wrong)} wrong; {self.versions} versions at the actor"
        )


class Matrix:
    """Owns the four processes and both their folders: `actor/` and `learner/` below `folder`."""

    def __init__(self, folder: Path, settings: Settings, seed: int, has_link: bool = True):
        self.settings, self.seed, self.has_link = settings, seed, has_link
        self._rng = np.random.default_rng(seed)
        made = Run.create(folder / "actor", NAME, asdict(settings))
        made.path.rename(folder / "actor" / NAME)
        self.run = Run.open(folder / "actor" / NAME)
        self.learner_run = Run(folder / "learner" / NAME) if has_link else self.run
        self._log = folder / "log.txt"
        learner = f"127.0.0.1:{_free_port()}"
        link = [sys.executable, "-m", "robostack", "link"]
        programs = [sys.executable, "-m", "tests.faults.programs"]
        self._commands = {
            "actor": [*programs, "actor", str(self.run.path)],
            "learner": [*programs, "learner", str(self.learner_run.path)],
        }
        if has_link:
            self._commands |= {
                "courier": [*link, "join", str(self.run.path), "--learner", learner],
                "server": [*link, "serve", str(folder / "learner"), "--listen", learner],
            }
        self.alive: dict[str, subprocess.Popen] = {}
        self.kills: Counter[str] = Counter()

    def __enter__(self) -> "Matrix":
        for name in self._commands:
            self.start(name)
        return self

    def __exit__(self, *_) -> None:
        for process in self.alive.values():
            process.kill()
            process.wait()
        if memory := spool.place(self.run.seat):
            shutil.rmtree(memory, ignore_errors=True)

    def start(self, name: str) -> None:
        with open(self._log, "a") as log:
            log.write(f"--- {name} starts\n")
            log.flush()
            self.alive[name] = subprocess.Popen(
                self._commands[name], stdout=log, stderr=log, cwd=ROOT, env=environment()
            )

    def kill(self, *names: str) -> None:
        for name in names:
            self.alive[name].kill()
        for name in names:
            if status := self.alive[name].wait() + 9:
                raise AssertionError(f"{name} had ended with status {status - 9}: {self.said()}")
            self.kills[name] += 1

    def said(self) -> str:
        return self._log.read_text()[-4000:]

    def play(self, kills: int, longest: float) -> None:
        """Kills at random moments, at most `longest` s from one to the next."""
        names = [name for name in VICTIMS if name in self._commands]
        chances = np.array([VICTIMS[name] for name in names])
        while self.kills.total() < kills:
            clock.sleep(self._rng.uniform(0.05, longest))
            if self._rng.random() < AT_WORK:
                self._wait_for_work()
            count = 2 if self._rng.random() < BOTH else 1
            drawn = self._rng.choice(names, count, replace=False, p=chances / chances.sum())
            victims = [str(name) for name in drawn]
            self.kill(*victims)
            if self._rng.random() < PAUSE:
                clock.sleep(self._rng.uniform(0.0, longest))
            for name in victims:
                self.start(name)

    def _wait_for_work(self) -> None:
        """On a busy machine a process may start for longer than it lives: lets actor and learner do something."""
        journals = [self.run.path / "actor.journal", self.learner_run.path / "learner.journal"]
        before = [len(told(path)) for path in journals]
        self._wait(
            "work",
            lambda: all(len(told(p)) > n for p, n in zip(journals, before, strict=True)),
        )

    def finish(self) -> None:
        """Lets everything come through, then ends all four in order."""
        count = len(episode_paths(self.run.episodes))
        self._wait("a new episode", lambda: len(episode_paths(self.run.episodes)) > count)
        (self.run.path / STOP).touch()
        self._wait("the actor's end", lambda: self.alive["actor"].poll() is not None)
        self._wait("the files", self._is_even)
        count = len(episode_paths(self.run.episodes))
        seen = self.learner_run.path / "learner.journal"
        last = str(count - 1)
        self._wait("the learner", lambda: any(line[:2] == ["took", last] for line in told(seen)))
        for name in ("learner", "courier", "server"):
            if name in self.alive:
                self.alive[name].terminate()
                if status := self.alive[name].wait(PATIENCE_S):
                    raise AssertionError(f"{name} ended with status {status}: {self.said()}")

    def _wait(self, what: str, is_there: Callable[[], bool]) -> None:
        deadline = clock.now() + PATIENCE_S
        while not is_there():
            for name, process in self.alive.items():
                if process.poll() not in (None, 0) or (name != "actor" and process.poll() == 0):
                    raise AssertionError(f"{name} ended: {self.said()}")
            if clock.now() > deadline:
                raise AssertionError(f"{what}: not there in {PATIENCE_S:.0f} s: {self.said()}")
            clock.sleep(0.02)

    def _is_even(self) -> bool:
        return _sizes(self.run) == _sizes(self.learner_run)

    def verdict(self) -> Verdict:
        """Everything that is left, against what was told and what is true."""
        there, wrong = self._read_all()
        tries = _tries(told(self.run.path / "actor.journal"))
        lost = sum(max(0, each.wrote - there.get(key, 0)) for key, each in tries.items())
        flying = [each.begun - max(each.wrote, there.get(key, 0)) for key, each in tries.items()]
        checks = told(self.learner_run.path / "learner.journal")
        wrong += [" ".join(line) for line in checks if line[0] == "wrong"]
        wrong += self._wrong_memory()
        versions = params.versions(self.run.params)
        for version in versions:
            got = params.load(params.path_of(self.run.params, version)).arrays["w"]
            if not np.array_equal(got, weights(version)["w"]):
                wrong.append(f"version {version} is another one's")
        return Verdict(
            kills=dict(sorted(self.kills.items())),
            episodes=len(episode_paths(self.learner_run.episodes)),
            steps=sum(each.wrote for each in tries.values()),
            lost=lost,
            lost_in_flight=max([0, *flying]),
            checked=sum(int(line[1]) for line in checks if line[0] == "checked"),
            wrong=wrong,
            versions=len(versions),
        )

    def _read_all(self) -> tuple[dict[str, int], list[str]]:
        """Whole steps of every try at an episode, by when it started; and what is wrong in the learner's episodes."""
        oracle, steps, wrong = self.settings.oracle(), dict[str, int](), list[str]()
        for path in (self.run.episodes / CUT).glob("*.mcap"):  # in lockstep, at the actor
            steps |= _whole_steps(path)
        played = [path.name for path in episode_paths(self.run.episodes)]
        if played != [f"{index:06d}-{KIND}.mcap" for index in range(len(played))]:
            wrong.append(f"the episodes are {played}")
        if not self._is_even():
            wrong.append(f"at the learner are {_sizes(self.learner_run)}")
        for path in episode_paths(self.learner_run.episodes):
            index = int(path.name[:6])
            steps |= _whole_steps(path)
            try:
                found = recover(path)
            except NothingWhole:
                continue
            if self.settings.lockstep and not found.is_complete:
                wrong.append(f"{path.name} is cut, and was not played again")
            seed = self.settings.seed + index
            lines = oracle.wrong_in(found.episode, seed, found.is_complete)
            wrong += [f"{path.name}: {line}" for line in lines]
        return steps, wrong

    def _wrong_memory(self) -> list[str]:
        """The newest checkpoint: every episode seen once, in order; in memory the newest ones without a gap."""
        folder = self.learner_run.path / "state"
        about = state.load(state.path_of(folder, state.steps(folder)[-1])).about
        paths = episode_paths(self.learner_run.episodes)
        given = [path.name for path in paths if sum(_whole_steps(path).values())]
        held = [span[2] for span in about["layout"]["practice"]]
        newest = [int(name[:6]) for name in given][-len(held) :]
        wrong = [] if about["seen"] == given else [f"seen are {about['seen']}, there are {given}"]
        return wrong if held == newest else [*wrong, f"in memory are {held}, expected {newest}"]


@dataclass
class _Try:
    """Steps of one try at an episode, as its journal tells."""

    begun: int = 0
    wrote: int = 0


def _tries(lines: list[list[str]]) -> dict[str, _Try]:
    """By when it started: in lockstep an episode that was cut is tried again."""
    found: dict[str, _Try] = {}
    for verb, *words in lines:
        match verb:
            case "tries":
                found[words[1]] = _Try()
            case "begins":
                found[words[0]].begun = int(words[1]) + 1
            case "wrote":
                found[words[0]].wrote = int(words[1]) + 1
    return found


def _sizes(run: Run) -> dict[str, int]:
    """Of its episodes. A writer that was killed before its first byte leaves nothing that could be sent."""
    sizes: dict[str, int] = {}
    for path in episode_paths(run.episodes):
        with suppress(FileNotFoundError):  # cut, and put aside at this moment
            sizes[path.name] = path.stat().st_size
    return {name: size for name, size in sizes.items() if size}


def _whole_steps(path: Path) -> dict[str, int]:
    """Of an episode, by when it started; empty where not even its header is whole."""
    try:
        episode = recover(path, has_pictures=False).episode
    except NothingWhole:
        return {}
    return {episode.header.started: len(episode.steps)}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def run_matrix(
    folder: Path, settings: Settings, seed: int, kills: int, longest: float = 0.9, link: bool = True
) -> Verdict:
    """The whole of it."""
    with Matrix(folder, settings, seed, link) as matrix:
        matrix.play(kills, longest)
        matrix.finish()
        return matrix.verdict()
