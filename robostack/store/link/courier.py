"""The actor's end on the network: a process of its own, so that no network ever stalls the control loop."""

import asyncio
import fcntl
import hashlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from robostack.core import clock
from robostack.core.errors import BadValue, RobostackError, Unavailable
from robostack.store.disk import explained, forget_drafts, write_whole
from robostack.store.link import connection as at
from robostack.store.link import message as m
from robostack.store.link.fetcher import Fetcher
from robostack.store.link.keys import Address, Keys, require_may_call
from robostack.store.link.outbox import Outbox
from robostack.store.link.pace import Backoff, Window
from robostack.store.run import Run, read_json

POLL_S = 0.01  # s between two looks for new steps
NOTES_S = 0.25  # s between two looks at actor.json and the names of versions
REMEMBERED = 100  # episodes whose newest acknowledgement is kept
LOCK = ".courier.lock"


def _say(line: str) -> None:
    print(line, flush=True)


class Courier:
    """Owns the connection of one run folder to its learner. Raises RobostackError where trying again is no use."""

    def __init__(
        self,
        run: Run,
        learner: Address,
        keys: Keys | None = None,
        actor: str = "",
        say: Callable[[str], None] = _say,
        silence: float = at.SILENCE_S,
    ):
        self._keys = keys or Keys()
        require_may_call(learner, self._keys)
        if actor and not m.is_name(actor):
            raise BadValue(f'"{actor}" is no name for an actor; use letters, digits and _ . + -')
        if not m.is_name(run.path.resolve().name):
            raise BadValue(f"{run.path} cannot be sent: letters, digits and _ . + - make its name")
        config = run.config
        self._run, self._learner, self._say, self._silence = run, learner, say, silence
        with explained("read", run.path / "config.json"):
            text = (run.path / "config.json").read_text()
        self._hello = m.Hello(
            run.path.resolve().name,
            run.id,
            actor,
            _seat(run.path),
            text,
            bool(config.get("lockstep")),
        )
        self.acknowledged: dict[str, m.Ack] = {}  # of the newest episodes, for whoever watches
        self.is_connected = False
        self.is_even = False  # the learner has everything that is here
        self.is_useful = False  # this connection has brought something to the learner's disk
        self.fetcher = Fetcher(run, self._hello.every, at.metadata(self._keys), self.complain)
        self._complaints: set[str] = set()  # what was said once

    def heard_ack(self, ack: m.Ack) -> None:
        """Remembers it; those of old episodes go."""
        self.acknowledged[ack.episode] = ack
        if len(self.acknowledged) > REMEMBERED:
            del self.acknowledged[next(iter(self.acknowledged))]

    async def run(self, stop: asyncio.Event) -> None:
        """Ships and fetches until `stop` is set, through every break."""
        with _alone(self._run.path):
            forget_drafts(self._run.params, "*.safetensors")
            await at.together(self._live(), _until(stop))

    async def _live(self) -> None:
        backoff, reason = Backoff(), ""
        while True:
            try:
                await self._session()
                lost = "it ended"
            except at.Lost as error:
                lost = str(error)
            if self.is_connected:
                self._say(f"the learner is lost ({lost}); everything is kept here until it is back")
            elif lost != reason:
                self._say(f"no learner at {self._learner} ({lost}); trying until there is")
            if self.is_useful:
                backoff.reset()
            reason, self.is_connected, self.is_useful = lost, False, False
            self.is_even = False
            await asyncio.sleep(backoff.next())

    async def _session(self) -> None:
        """One connection, from its Hello to its end. Raises Lost or RobostackError."""
        ship, fetch = (at.channel(self._learner, self._keys) for _ in range(2))
        async with ship, fetch:
            call = ship.stream_stream(at.SHIP)(metadata=at.metadata(self._keys))
            try:
                await self._converse(call, fetch)
            except grpc.aio.AioRpcError as error:
                raise await self._explained(error.code(), error.details()) from None
            except (asyncio.InvalidStateError, EOFError):  # ended while we wrote, or in order
                raise await self._explained(await call.code(), await call.details()) from None
            except TimeoutError:
                said = f"silent for {self._silence:.0f} s" if self.is_connected else "no answer"
                raise at.Lost(said) from None
            except OSError as error:
                raise Unavailable(f"cannot read {self._run.path}: {error}") from error
            finally:
                call.cancel()

    async def _explained(self, code: Any, details: str | None) -> Exception:
        if code is grpc.StatusCode.OK:
            return at.Lost("it ended the call")
        keys = None if self.is_connected else self._keys  # TLS is to blame at the beginning alone
        return await at.explain(self._learner, keys, code, details or "")

    async def _converse(self, call: Any, fetch: grpc.aio.Channel) -> None:
        await call.write(m.encode(self._hello))
        m.parse(await _next(call, at.DEADLINE_S), m.Welcome)
        self.is_connected = True
        self.fetcher.begin()
        exchange = _Exchange(self._run, call, self)
        exchange.outbox.look()
        self._say(f"connected to the learner at {self._learner}")
        await at.together(
            exchange.send(), exchange.hear(self._silence), exchange.tell(), self.fetcher.work(fetch)
        )

    def complain(self, line: str) -> None:
        """Says a line once, however often the connection is made anew."""
        if line not in self._complaints:
            self._complaints.add(line)
            self._say(line)

    def caught_up(self, size: int, seconds: float) -> None:
        self._say(f"caught up: {size / 1e6:.1f} MB in {seconds:.1f} s, all durable at the learner")


class _Exchange:
    """Owns one connection's conversation about episodes."""

    def __init__(self, run: Run, call: Any, courier: Courier):
        self.outbox = Outbox(run.episodes)
        self._run, self._call, self._courier = run, call, courier
        self._window = Window()
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._wrote = clock.now()
        self._owed: deque[m.Message] = deque()  # to be said before the next piece

    async def send(self) -> None:
        """Offers, then pieces, as far as the window goes; a beat where there is nothing to say."""
        began, catching, is_even = clock.now(), 0, False
        while True:
            self.outbox.look()
            self._courier.is_even = self.outbox.is_even
            while (message := self._next()) is not None:
                await self._write(message)
                catching += 0 if is_even or not isinstance(message, m.Piece) else len(message.data)
            if not is_even and self.outbox.is_even:
                is_even = True
                if catching > m.LARGEST:
                    self._courier.caught_up(catching, clock.now() - began)
            if clock.now() - self._wrote > at.BEAT_S:
                await self._write(m.Beat())
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()

    def _next(self) -> m.Message | None:
        if self._owed:
            return self._owed.popleft()
        if offer := self.outbox.offer():
            return offer
        if (most := self._window.piece) and (piece := self.outbox.piece(most)):
            count = len(piece.data)
            self._window.sent(piece.episode, piece.offset + count, count, clock.now())
            return piece
        return None

    async def hear(self, silence: float) -> None:
        kinds = (m.Ack, m.Beat, m.Have, m.Refused, m.News, m.Note, m.Bye)
        while True:
            match m.parse(await _next(self._call, silence), *kinds):
                case m.Ack() as ack:
                    self.outbox.acknowledged(ack)
                    self._window.acknowledged(ack.episode, ack.received, clock.now())
                    self._courier.is_useful = True
                    self._courier.heard_ack(ack)
                case m.Have() as have:
                    self._answered(have)
                case m.Refused() as refused:
                    self.outbox.refused(refused.episode)
                    self._window.dropped(refused.episode)
                    self._courier.complain(
                        f"{refused.episode}: the learner keeps it up to there: {refused.reason}"
                    )
                case m.News() as news:
                    self._courier.fetcher.heard(news)
                case m.Note() as note:
                    with suppress(Unavailable):  # a sign of life; the next one comes soon
                        write_whole(self._run.path / "learner.json", note.data, is_durable=False)
                    continue
                case m.Beat():
                    continue
                case m.Bye() as bye:
                    raise at.Closed(bye.reason) if bye.is_final else at.Lost(bye.reason)
            self._wake.set()

    def _answered(self, have: m.Have) -> None:
        try:
            if retire := self.outbox.answered(have):
                self._owed.append(retire)
        except RobostackError as error:
            self._courier.complain(str(error))

    async def tell(self) -> None:
        """The actor's sign of life and the names it gives to versions, as they change."""
        told: dict[Path, tuple[int, int]] = {}
        while True:
            for path in [self._run.path / "actor.json", *sorted(self._run.params.glob("*.json"))]:
                try:
                    stat = path.stat()
                except FileNotFoundError:
                    continue
                if told.get(path) != (now := (stat.st_ino, stat.st_mtime_ns)):
                    told[path] = now
                    if message := _small(path):
                        await self._write(message)
            await asyncio.sleep(NOTES_S)

    async def _write(self, message: m.Message) -> None:
        async with self._lock:  # gRPC takes one at a time
            await self._call.write(m.encode(message))
            self._wrote = clock.now()


async def _next(call: Any, patience: float) -> bytes:
    """Raises TimeoutError, EOFError when the call has ended in order, and grpc's errors."""
    async with asyncio.timeout(patience):  # wait_for of Python 3.11 can lose a cancellation
        data = await call.read()
    if data is at.EOF:
        raise EOFError
    return data


def _small(path: Path) -> m.Message | None:
    """actor.json or a version's name as a message; None for what is none."""
    try:
        if path.name == "actor.json":
            data = path.read_bytes()
            return m.Note(data) if len(data) <= m.LARGEST else None
        return m.Pin(path.stem, int(read_json(path)["version"]))
    except (RobostackError, OSError, KeyError, TypeError, ValueError):
        return None


def _seat(folder: Path) -> str:
    """Tells this folder on this machine from all others; the same after every restart."""
    stat = folder.stat()
    where = f"{socket.gethostname()} {folder.resolve()} {stat.st_dev} {stat.st_ino}"
    return hashlib.sha256(where.encode()).hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two couriers of one folder would call each other off; the lock goes with its process."""
    path = folder / LOCK
    with explained("lock", path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Unavailable(f"{folder} is joined already; end the other process first") from None
        yield
    finally:
        os.close(handle)


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()
