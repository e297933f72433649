"""Actor and learner of the kill matrix and the soak, as programs: `python -m tests.faults.programs actor RUN`.

Each tells a journal beside the run what it holds for done, one line of a single write, so that no end of it lies.
"""

import argparse
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robostack import past
from robostack.core import clock
from robostack.core.types import Episode, EpisodeHeader, Samples, Step
from robostack.store import params, spool, state
from robostack.store.episode import EpisodeWriter, next_index, read_episode
from robostack.store.follow import EpisodeFollower
from robostack.store.lock import held
from robostack.store.replay import Label, Replay
from robostack.store.run import Run, read_json, write_json
from robostack.store.state import Checkpoint
from tests.faults import oracle
from tests.faults.oracle import KIND, SPEC, Oracle

BATCH = 16
CHECKPOINT_S, VERSION_S = 0.4, 0.2
LOOK_S = 0.01
STOP = "stop"  # in the actor's run folder: play no further episode


@dataclass(frozen=True)
class Settings:
    """What a matrix or a soak is made of; the run's config.json."""

    lockstep: bool = False  # a cut episode is put aside and played again, else it stays
    size: int = 32  # px of each picture
    steps: int = 24  # of an episode, at most
    period: float = 0.02  # s between steps
    capacity: int = 400  # frames of the replay memory
    seed: int = 0  # of the first episode, added to its index
    trains: bool = False  # the learner updates networks too

    def oracle(self) -> Oracle:
        return Oracle(self.size, self.steps)

    @staticmethod
    def of(run: Run) -> "Settings":
        return Settings(**{name: run.config[name] for name in asdict(Settings())})


class Journal:
    """Owns a file of lines that are each there or not, whatever ends us."""

    def __init__(self, path: Path):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def tell(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


class Telling:
    """An EpisodeWriter that tells what it begins to write and what is written."""

    def __init__(self, writer: EpisodeWriter, journal: Journal, period: float):
        self._writer, self._journal, self._period = writer, journal, period
        self._started, self._step = "", 0

    def begin(self, header: EpisodeHeader, observation: np.ndarray, samples: Samples) -> None:
        self._started, self._step = header.started, 0
        self._journal.tell("tries", header.index, self._started)
        self._writer.begin(header, observation, samples)

    def append(self, step: Step, next_observation: np.ndarray, samples: Samples) -> None:
        clock.sleep(self._period)
        self._journal.tell("begins", self._started, self._step)
        self._writer.append(step, next_observation, samples)
        self._journal.tell("wrote", self._started, self._step)
        self._step += 1

    def end(self) -> None:
        self._writer.end()
        self._journal.tell("ended", self._started)


def act(run: Run) -> None:
    """Plays episodes, from the first one that the folder lacks, until there is a STOP."""
    settings = Settings.of(run)
    with held(run.path / ".actor.lock"):
        if settings.lockstep:
            past.Past(run.episodes, is_lockstep=True)  # puts a cut one aside
        memory = spool.place(run.seat)
        spool.recover(run.episodes, memory)
        writer = EpisodeWriter(run.episodes, SPEC, None if settings.lockstep else memory)
        journal = Journal(run.path / "actor.journal")
        truth = settings.oracle()
        loop = truth.loop(Telling(writer, journal, settings.period), oracle.Plant(truth))
        while not (run.path / STOP).exists():
            index = next_index(run.episodes)
            loop.run(oracle.Policy(), KIND, index, settings.seed + index)
            write_json(run.path / "actor.json", {"episodes": index + 1}, is_durable=False)


def weights(version: int) -> dict[str, np.ndarray]:
    """Parameters that tell their version, 40 kB."""
    return {"w": np.random.default_rng(version).normal(size=(100, 100)).astype(np.float32)}


class Learning:
    """Owns a replay memory with pictures that follows a folder, as `robostack learn` follows it."""

    def __init__(self, run: Run):
        settings = Settings.of(run)
        self._run, self._truth = run, settings.oracle()
        self._replay = Replay(SPEC, settings.capacity, self._truth.sizes())
        self._follower = EpisodeFollower(run.episodes, SPEC, with_cut=not settings.lockstep)
        self._journal = Journal(run.path / "learner.journal")
        self._seen, self._draws, self._resumed_at = list[str](), 0, 0
        self._learner = _learner(settings) if settings.trains else None
        self._version = params.latest_version(run.params)
        self._saved = self._published = clock.now()
        self._resume()
        self._writer = state.Writer(run.path / "state", keep=2)
        self._rng = np.random.default_rng([settings.seed, self._draws])

    def turn(self) -> None:
        """Takes in what is new, draws a batch and looks at it, saves and publishes now and then."""
        for episode in self._follower.poll():
            self._replay.add(episode)
            if self._learner:
                self._learner.add([episode])
                self._learner.train(len(episode.steps))
            self._seen.append(f"{episode.header.index:06d}-{KIND}.mcap")
            self._journal.tell("took", episode.header.index, len(episode.steps))
        if len(self._replay):
            self._look()
        now = clock.now()
        if now - self._saved > CHECKPOINT_S:
            self._saved = now
            self._save()
        if now - self._published > VERSION_S:
            self._published, self._version = now, self._version + 1
            params.save(self._run.params, self._version, weights(self._version), SPEC)
            params.prune(self._run.params, keep=20)
        write_json(self._run.path / "learner.json", {"draws": self._draws}, is_durable=False)

    def close(self) -> None:
        """Leaves a checkpoint, and every transition that is held has been looked at."""
        self._tell_wrong(self._replay.all)
        self._save()
        self._writer.close()

    def _look(self) -> None:
        by_label = {Label.PERSON: 1.0 + self._draws % 3}
        self._draws += 1
        self._tell_wrong(self._replay.draw(self._rng, BATCH, by_label))

    def _tell_wrong(self, rows: np.ndarray) -> None:
        wrong = self._truth.wrong(self._replay, rows)
        self._journal.tell("checked", len(rows), len(wrong))
        for line in wrong:
            self._journal.tell("wrong", line)

    def _save(self) -> None:
        arrays = self._learner.arrays() if self._learner else {"draws": np.array([self._draws])}
        about = {"seen": list(self._seen), "layout": self._replay.layout(), "draws": self._draws}
        self._writer.save(Checkpoint(self._draws, arrays, SPEC, about))

    def _resume(self) -> None:
        def read(actor: str, index: int) -> Episode:
            return read_episode(self._run.episodes / actor / f"{index:06d}-{KIND}.mcap", SPEC)

        said: Any = lambda line: self._journal.tell("said", line)  # noqa: E731
        for checkpoint in state.newest_first(self._run.path / "state", SPEC, said):
            about = checkpoint.about
            self._replay.restore(about["layout"], read)
            self._follower.skip(about["seen"])
            self._seen, self._draws = about["seen"], about["draws"]
            if self._learner:
                self._learner.restore(checkpoint.arrays, checkpoint.step, "the checkpoint")
                self._learner.refill(about["layout"], read)
            self._journal.tell("resumed", len(self._seen))
            return


def _learner(settings: Settings) -> Any:
    """A real one with small networks. Imported here: all others start in a third of the time."""
    from robostack.learn.learner import Learner
    from robostack.learn.sac import Config

    return Learner(SPEC, Config(widths=(64, 64), batch=64), 0, settings.capacity)


def learn(path: Path) -> None:
    """Follows a run folder, once it is one, until told to end."""
    is_over = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: is_over.append(True))
    while not is_over and not (path / "config.json").exists():
        clock.sleep(LOOK_S)
    if is_over:
        return
    run = Run.open(path)
    with held(run.path / ".learner.lock"):
        learning = Learning(run)
        while not is_over:
            learning.turn()
            clock.sleep(LOOK_S)
        learning.close()


def told(path: Path) -> list[list[str]]:
    """A journal's lines, as words."""
    try:
        return [line.split() for line in path.read_text().splitlines()]
    except FileNotFoundError:
        return []


def episodes_played(run: Run) -> int:
    return read_json(run.path / "actor.json", {}).get("episodes", 0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=("actor", "learner"))
    parser.add_argument("run", type=Path)
    given = parser.parse_args()
    if given.program == "actor":
        act(Run.open(given.run))
    else:
        learn(given.run)


if __name__ == "__main__":
    main()
