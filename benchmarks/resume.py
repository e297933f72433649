"""B.3: a run killed at random moments and started again ends as the one nobody touched, to the last bit. 10 min."""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.rows import Row, row
from robostack import config as configs
from robostack.config import RunConfig
from robostack.store import params, state
from robostack.store.episode import episode_paths, read_episode
from robostack.store.run import Run, read_json
from robostack.study.ledger import lines

POINTS = 20
VERBS = {"learner": "learn", "actor": "act"}
PATIENCE_S = 120.0  # until the next thing happens, on a busy machine
SMALL = (
    "demonstrations=4", "steps=400", "warmup=60", "check_every=3", "check_from=0.0", "check_episodes=2",
    "perfect_checks=2", "validation=2", "evaluation=4", "capacity=1000", "checkpoint_every=0.3", "updates_per_step=1.7",
)  # fmt: skip


@dataclass(frozen=True)
class Kill:
    """SIGKILL for these processes, so long after this many episode files are there; then they start again."""

    who: tuple[str, ...]
    episodes: int
    delay: float  # s

    def __str__(self) -> str:
        return f"{' and '.join(self.who)} {self.delay:.2f} s after {self.episodes} episodes"


@dataclass
class Pair:
    """Owns a run's learner and actor as processes."""

    run: Run
    alive: dict[str, subprocess.Popen] = field(default_factory=dict)

    def start(self, who: str) -> None:
        command = [sys.executable, "-m", "robostack", VERBS[who], str(self.run.path)]
        with open(self.run.path / f"{who}.txt", "a") as said:
            self.alive[who] = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)

    def kill(self, who: str) -> None:
        self.alive[who].kill()
        self.alive[who].wait()

    def stop(self, who: str) -> int:
        self.alive[who].send_signal(signal.SIGTERM)
        return self.alive[who].wait(PATIENCE_S)

    def said(self, who: str) -> str:
        return (self.run.path / f"{who}.txt").read_text()

    def __enter__(self) -> "Pair":
        for who in VERBS:
            self.start(who)
        return self

    def __exit__(self, *_) -> None:
        for process in self.alive.values():
            process.kill()
            process.wait()


def begin(root: Path, *settings: str) -> Run:
    """A run folder for a small run on the mirror inside the actor."""
    root.mkdir(parents=True, exist_ok=True)
    config = configs.override(RunConfig(task="reach", plant="twin"), (*SMALL, *settings))
    return Run.create(root, config.name, configs.as_dict(config))


def play(run: Run, kills: tuple[Kill, ...] = ()) -> None:
    """The whole run, with these kills on its way. Raises RuntimeError when a process fails or nothing happens."""
    with Pair(run) as pair:
        for kill in kills:
            _await(pair, lambda count=kill.episodes: len(episode_paths(run.episodes)) >= count)
            time.sleep(kill.delay)
            for who in kill.who:
                pair.kill(who)
            for who in kill.who:
                pair.start(who)
        _await(pair, lambda: pair.alive["actor"].poll() is not None)
        kinds = set(configs.from_dict(run.config).trained) - {"demonstration"}
        trained = sum(line.kind in kinds for line in lines(run.episodes))
        _await(pair, lambda: read_json(run.path / "learner.json", {}).get("version") == trained)
        # 130: it had nothing more to make, and was still starting after its last kill.
        if (status := pair.stop("learner")) not in (0, 130):
            raise RuntimeError(f"the learner ended with status {status}: {pair.said('learner')}")


def _await(pair: Pair, is_there) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_there():
        for who, process in pair.alive.items():
            done = process.poll()
            if done or (done == 0 and who == "learner"):
                raise RuntimeError(f"the {who} ended with status {done}: {pair.said(who)}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing for {PATIENCE_S:.0f} s in {pair.run.path}")
        time.sleep(0.002)


def made(run: Run) -> dict[str, Any]:
    """Everything that a run is made of, but times of day and durations, in a form that compares exactly."""
    folder = run.path / "state"
    last = state.load(state.path_of(folder, state.steps(folder)[-1]))
    counts = {
        name: last.about["counts"][name] for name in last.about["counts"] if name != "seconds"
    }
    told = read_json(run.path / "actor.json")
    kinds = set(configs.KINDS) - set(configs.from_dict(run.config).trained)
    judging = {f"{kind}.mcap" for kind in kinds}
    episodes = [read_episode(path) for path in episode_paths(run.episodes)]
    return {
        "ledger": lines(run.episodes),
        "observations": [episode.observations.tobytes() for episode in episodes],
        "actions": [[step.action.tobytes() for step in episode.steps] for episode in episodes],
        "parameters": {
            version: params.path_of(run.params, version).read_bytes()
            for version in params.versions(run.params)
        },
        "pins": {path.name: path.read_text() for path in run.params.glob("*.json")},
        "learner": {name: array.tobytes() for name, array in last.arrays.items()},
        "counts": counts,
        "replay": last.about["layout"],
        "ratio": last.about["ratio"],
        # It may have been stopped before it passed over the last ones that are only for judging.
        "seen": [name for name in last.about["seen"] if name.partition("-")[2] not in judging],
        "progress": {
            name: told[name] for name in told if name not in ("training_seconds", "written")
        },
    }


def differences(first: Run, second: Run) -> list[str]:
    """What is not bit-equal between two runs."""
    a, b = made(first), made(second)
    return [name for name in a if a[name] != b[name]]


def drawn(seed: int, episodes: int) -> tuple[Kill, ...]:
    """One to three kills of a run of so many episodes, by chance; sometimes right after a restart."""
    chance, kills = random.Random(seed), list[Kill]()
    for _ in range(chance.choice((1, 1, 2, 3))):
        who = chance.choice((("learner",), ("actor",), ("learner", "actor")))
        count = (
            kills[-1].episodes if kills and chance.random() < 0.4 else chance.randrange(episodes)
        )
        # Right after a restart a process imports and compiles for seconds: those moments too.
        delay = chance.uniform(0.0, 4.0 if kills and count == kills[-1].episodes else 0.2)
        kills.append(Kill(who, count, delay))
    return tuple(sorted(kills, key=lambda kill: kill.episodes))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--seed", type=int, default=0, help="of the kill points")


def measure(given: argparse.Namespace) -> list[Row]:
    equal = []
    with tempfile.TemporaryDirectory() as folder:
        whole = begin(Path(folder) / "whole")
        play(whole)
        count = len(episode_paths(whole.episodes))
        print(f"the run nobody touched has {count} episodes", flush=True)
        for point in range(given.points):
            kills = drawn(1000 * given.seed + point, count)
            run = begin(Path(folder) / str(point))
            try:
                play(run, kills)
                found = differences(whole, run)
            except RuntimeError as error:
                found = [str(error)]
            equal.append(not found)
            print(f"{point}: {'; '.join(map(str, kills))}: {found or 'equal'}", flush=True)
    failed = given.points < POINTS
    return [row("B.3", sum(equal), [float(each) for each in equal], failed=failed)]


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
