"""Both ends of a link in one process or as programs, episodes to send, and what must be true of them afterwards."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import numpy as np

from robostack.core import clock
from robostack.core.types import EpisodeHeader, Sample, Step, Who
from robostack.store import params, reading
from robostack.store.episode import EpisodeWriter, episode_paths
from robostack.store.link.courier import Courier
from robostack.store.link.keys import Address, Keys
from robostack.store.link.server import LinkServer
from robostack.store.run import Run, write_json
from tests.store.conftest import SPEC

LOCAL = Address("127.0.0.1", 0)
ROOT = Path(__file__).parents[3]


def make_run(folder: Path, name: str = "run", **config) -> Run:
    path = folder / name
    (path / "episodes").mkdir(parents=True)
    (path / "params").mkdir()
    write_json(path / "config.json", {"task": "reach", "lockstep": False, **config})
    return Run(path)


def header(index: int, started: str, side: int) -> EpisodeHeader:
    cameras = {"wrist_camera": [side, side]} if side else {}
    return EpisodeHeader(
        index=index,
        kind="practice",
        robot="arm",
        task="reach",
        plant="mock",
        seed=index,
        spec=SPEC.digest,
        code="0",
        started=started,
        cameras=cameras,
    )


def step(i: int) -> Step:
    x = np.full(3, i, np.float32)
    return Step(x, np.ones(2), np.ones(2), Who.POLICY, 0.0, False, False, 0, 0.1 * i, 0.0, 0.0)


class Actor:
    """Writes an episode step by step, as an actor does; pictures of `side` pixels where one is given."""

    def __init__(self, folder: Path, side: int = 0):
        self._writer, self._side = EpisodeWriter(folder, SPEC), side
        self._rng = np.random.default_rng(0)

    def _samples(self, i: int) -> dict[str, Sample]:
        if not self._side:
            return {}
        picture = self._rng.integers(0, 256, (self._side, self._side, 3), dtype=np.uint8)
        return {"wrist_camera": Sample(0.1 * i, picture)}

    def begin(self, index: int, started: str = "") -> None:
        self._count = 0
        self._writer.begin(
            header(index, started, self._side), np.zeros(3, np.float32), self._samples(0)
        )

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self._writer.append(
                step(self._count), np.ones(3, np.float32), self._samples(self._count + 1)
            )
            self._count += 1

    def end(self) -> None:
        self._writer.end()

    def episode(self, index: int, length: int = 5) -> None:
        self.begin(index)
        self.step(length)
        self.end()


@contextmanager
def acting(folder: Path, length: int = 20, pause: float = 0.002, side: int = 0) -> Iterator[Actor]:
    """An actor at work in a thread, episode after episode, until the block ends; the last one is ended whole."""
    actor, stop, failed = Actor(folder, side), threading.Event(), []

    def work() -> None:
        index = len(episode_paths(folder))
        try:
            while not stop.is_set():
                actor.begin(index)
                for _ in range(length):
                    actor.step()
                    stop.wait(pause)
                actor.end()
                index += 1
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield actor
    finally:
        stop.set()
        thread.join()
    assert not failed


def publish(run: Run, version: int, size: int = 1000, content: int = 0) -> Path:
    """A version of the parameters, some `size` numbers."""
    return params.save(run.params, version, {"w": np.full(size, content, np.float32)}, SPEC)


@asynccontextmanager
async def serving(
    runs: Path, keys: Keys | None = None, listen: Address = LOCAL, silence: float = 8.0
) -> AsyncIterator[tuple[Address, list[str]]]:
    """A learner's end in this event loop: where it listens, and the lines it says."""
    said: list[str] = []
    server = LinkServer(runs, keys, said.append, silence)
    try:
        yield await server.start(listen), said
    finally:
        await server.stop()


@asynccontextmanager
async def joining(
    run: Run, learner: Address, keys: Keys | None = None, actor: str = "", silence: float = 8.0
) -> AsyncIterator[tuple[Courier, list[str]]]:
    """An actor's end in this event loop, and the lines it says. Leaving the block raises what it raised."""
    said: list[str] = []
    courier, stop = Courier(run, learner, keys, actor, said.append, silence), asyncio.Event()
    task = asyncio.create_task(courier.run(stop))
    try:
        yield courier, said
    finally:
        stop.set()
        await task


async def join(run: Run, learner: Address, keys: Keys | None = None, actor: str = "") -> list[str]:
    """Joins until it is refused, 10 s at most."""
    said: list[str] = []
    courier = Courier(run, learner, keys, actor, said.append)
    await asyncio.wait_for(courier.run(asyncio.Event()), 10)
    return said


async def eventually(is_so: Callable[[], object], seconds: float = 15.0) -> None:
    """Raises TimeoutError unless it becomes so."""
    end = clock.now() + seconds
    while not is_so():
        if clock.now() > end:
            raise TimeoutError(f"not within {seconds} s")
        await asyncio.sleep(0.01)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in episode_paths(folder)}


def is_same(ours: Path, theirs: Path) -> bool:
    def sizes(folder: Path) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in episode_paths(folder)}

    with suppress(FileNotFoundError):
        return sizes(ours) == sizes(theirs) and contents(ours) == contents(theirs)
    return False


def prefix_of(path: Path) -> reading.Prefix:
    found = reading.Prefix()
    with suppress(FileNotFoundError):
        found.feed(path.read_bytes())
    return found


class Program:
    """A `robostack link …` as a process of its own, with the lines it says."""

    def __init__(self, *words: object, prefix: tuple[str, ...] = ()):
        command = [*prefix, sys.executable, "-m", "robostack", "link", *map(str, words)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.append(line.rstrip())

    def wait_for(self, words: str, seconds: float = 60.0) -> str:
        """The first line with these words in it."""
        end = clock.now() + seconds
        while clock.now() < end:
            if found := [line for line in list(self.said) if words in line]:
                return found[0]
            if self.process.poll() is not None and not self._reader.is_alive():
                break
            clock.sleep(0.01)
        raise TimeoutError(f'no "{words}" in {self.said}')

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(5)

    def end(self) -> int:
        """As Ctrl-C or a supervisor ends it; its exit status."""
        self.process.terminate()
        status = self.process.wait(10)
        self._reader.join(5)
        return status

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.kill()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
