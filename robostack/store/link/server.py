"""The learner's end on the network: lets couriers in, keeps what they bring, gives out parameters."""

import asyncio
import json
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from robostack.core import clock
from robostack.core.errors import RobostackError, Unavailable
from robostack.store.disk import explained, write_whole
from robostack.store.link import connection as at
from robostack.store.link import message as m
from robostack.store.link.folders import RunFolders
from robostack.store.link.keys import Address, Keys, require_may_listen
from robostack.store.link.receiver import OutOfStep, Receiver, require_room
from robostack.store.run import Run, write_json

POLL_S = 0.05  # s between two looks for new parameters
SIGN_S = 0.25  # s between two looks at learner.json
WAITING = 32  # messages that came and are not on the disk yet
REMEMBERED = 1000  # refusals
FAREWELL_S = 1.0  # s for the courier to read why


class Refusal(RobostackError):
    """A courier is not let in, or not kept."""

    def __init__(self, code: grpc.StatusCode, line: str):
        super().__init__(line)
        self.code = code


@dataclass
class Seat:
    """Owns what the server knows of one connected actor."""

    hello: m.Hello
    run: Run
    receiver: Receiver
    over: asyncio.Event = field(default_factory=asyncio.Event)  # somebody else sits here now
    heard: float = field(default_factory=clock.now)  # s, steady clock
    size: int = 0  # bytes made durable since it came

    @property
    def name(self) -> str:
        actor = f'actor "{self.hello.actor}"' if self.hello.actor else "the actor"
        return f"{actor} of {self.hello.run}"

    def prefix(self, name: str) -> str:
        """Several actors' small files lie side by side in one run."""
        return f"{self.hello.actor}-{name}" if self.hello.actor else name


def _say(line: str) -> None:
    print(line, flush=True)


class LinkServer:
    """Owns the port and the run folders below `runs`, as far as couriers write into them."""

    def __init__(
        self,
        runs: Path,
        keys: Keys | None = None,
        say: Callable[[str], None] = _say,
        silence: float = at.SILENCE_S,
    ):
        self._runs, self._keys, self._say, self._silence = runs, keys or Keys(), say, silence
        self._seats: dict[tuple[str, str], Seat] = {}
        self._receivers: dict[tuple[str, str], Receiver] = {}
        self._folders = RunFolders(runs)
        self._refused: dict[str, str] = {}  # the newest refusal of each host
        self._server: grpc.aio.Server | None = None

    @property
    def runs(self) -> list[Run]:
        """Those that a courier is connected for."""
        return [seat.run for seat in self._seats.values()]

    async def start(self, listen: Address) -> Address:
        """Listens; port 0 takes a free one. Raises BadValue where keys are missing, Unavailable for a port in use."""
        require_may_listen(listen, self._keys)
        with explained("make", self._runs):
            self._runs.mkdir(parents=True, exist_ok=True)
        server = grpc.aio.server(options=at.OPTIONS)
        methods = {
            "Ship": grpc.stream_stream_rpc_method_handler(self._ship),
            "Fetch": grpc.unary_unary_rpc_method_handler(self._fetch),
        }
        handler = grpc.method_handlers_generic_handler(at.SERVICE, methods)
        server.add_generic_rpc_handlers((handler,))
        try:
            if self._keys.certificate:
                pair = (self._keys.key, self._keys.certificate)
                port = server.add_secure_port(str(listen), grpc.ssl_server_credentials([pair]))
            else:
                port = server.add_insecure_port(str(listen))
        except RuntimeError:
            raise Unavailable(
                f"cannot listen at {listen}: the port is in use, or no address of this machine"
            ) from None
        await server.start()
        self._server = server
        return Address(listen.host, port)

    async def stop(self) -> None:
        """Ends within a second; may be called twice. Couriers come back when there is a server again."""
        if self._server is not None:
            await self._server.stop(0.2)
            self._server = None

    async def _ship(self, _: Any, context: Any) -> None:
        """One courier, from its Hello until it goes."""
        try:
            await self._serve(context)
            return
        except grpc.aio.AbortError:
            raise
        except RobostackError as error:
            code, line = _code(error), m.printable(str(error))
        except Exception:  # a bug of ours must not take the others' server down
            traceback.print_exc()
            code, line = grpc.StatusCode.INTERNAL, "the learner's link failed; see its log"
        self._say_once(context.peer(), line)
        await context.abort(code, line)

    def _say_once(self, peer: str, line: str) -> None:
        """Who is refused calls again every second or two."""
        host = peer.rpartition(":")[0]
        if self._refused.get(host) != line:
            if len(self._refused) > REMEMBERED:
                self._refused.clear()
            self._refused[host] = line
            self._say(f"{peer} is refused: {line}")

    async def _serve(self, context: Any) -> None:
        try:
            async with asyncio.timeout(at.DEADLINE_S):
                data = await context.read()
        except TimeoutError:
            raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "no word since it called") from None
        if data is at.EOF:
            return
        self._require_token(context)  # not before: a refusal that meets the first word is lost
        seat = await self._admit(m.parse(data, m.Hello))
        try:
            await self._converse(seat, context)
        except RobostackError as error:
            await _farewell(context, error)
            await context.abort(_code(error), m.printable(str(error)))

    async def _converse(self, seat: Seat, context: Any) -> None:
        """Until the courier goes, or its seat is free for another reason."""
        reason = "it hung up"
        try:
            await context.write(m.encode(m.Welcome()))
            self._say(f"{seat.name} is connected from {context.peer()}")
            line = _Line(context)
            inbox: asyncio.Queue[m.Message] = asyncio.Queue(WAITING)
            await at.together(
                self._hear(seat, context, inbox),
                self._keep(seat, line, inbox),
                self._tell(seat, line),
                self._watch(seat, line),
            )
        except RobostackError as error:
            reason = m.printable(str(error))
            raise
        finally:
            key = (seat.hello.run, seat.hello.actor)
            if self._seats.get(key) is seat:
                del self._seats[key]
            self._refused.clear()
            self._say(f"{seat.name} is gone ({reason}); {seat.size / 1e6:.1f} MB came")

    def _require_token(self, context: Any) -> None:
        given = dict(context.invocation_metadata() or ()).get(at.TOKEN, "")
        if not self._keys.admits(given):
            said = "the token is not ours" if given else "a token is needed"
            raise Refusal(
                grpc.StatusCode.UNAUTHENTICATED,
                f"{said}; give --keys DIR with the cell/ folder of this learner's keys",
            )

    async def _admit(self, hello: m.Hello) -> Seat:
        """The seat of an actor. A name that lives is refused, unless it is the same courier that comes back."""
        key = (hello.run, hello.actor)
        run = await asyncio.to_thread(self._folders.open, hello)
        if sitting := self._seats.get(key):
            if sitting.hello.seat != hello.seat:
                called = f'an actor "{hello.actor}"' if hello.actor else "an actor without a name"
                raise Refusal(
                    grpc.StatusCode.ALREADY_EXISTS,
                    f"{hello.run} has {called} already; give this one a name of its own: --name",
                )
            sitting.over.set()
        folder = run.episodes / hello.actor if hello.actor else run.episodes
        if key not in self._receivers:
            with explained("make", folder):
                folder.mkdir(parents=True, exist_ok=True)
            self._receivers[key] = Receiver(folder)
        require_room(folder)
        seat = self._seats[key] = Seat(hello, run, self._receivers[key])
        return seat

    async def _hear(self, seat: Seat, context: Any, inbox: "asyncio.Queue[m.Message]") -> None:
        kinds = (m.Piece, m.Beat, m.Offer, m.Retire, m.Pin, m.Note)
        while (data := await context.read()) is not at.EOF:
            seat.heard = clock.now()
            found = m.parse(data, *kinds)
            if not isinstance(found, m.Beat):
                await inbox.put(found)

    async def _keep(self, seat: Seat, line: "_Line", inbox: "asyncio.Queue[m.Message]") -> None:
        """Everything that has come while the disk worked goes to it in one turn."""
        while True:
            batch = [await inbox.get()]
            while not inbox.empty():
                batch.append(inbox.get_nowait())
            for answer in await asyncio.to_thread(self._store, seat, batch):
                await line.write(answer)

    def _store(self, seat: Seat, batch: list[m.Message]) -> list[m.Message]:
        answers: list[m.Message] = []
        pieces: list[m.Piece] = []
        for found in batch:
            if isinstance(found, m.Piece):
                pieces.append(found)
                continue
            answers += self._take(seat, pieces)
            pieces = []
            match found:
                case m.Offer():
                    answers.append(seat.receiver.have(found))
                case m.Retire():
                    self._say(f"{seat.name}: {found.episode} was played again; the cut one is kept")
                    answers.append(seat.receiver.retire(found.episode))
                case m.Pin():
                    path = seat.run.params / f"{seat.prefix(found.name)}.json"
                    write_json(path, {"version": found.version})
                case m.Note():
                    path = seat.run.path / f"{seat.prefix('actor')}.json"
                    write_whole(path, _json(found.data, "actor.json"), is_durable=False)
        return answers + self._take(seat, pieces)

    def _take(self, seat: Seat, pieces: list[m.Piece]) -> list[m.Message]:
        if not pieces:
            return []
        answers = seat.receiver.take(pieces)
        seat.size += sum(len(piece.data) for piece in pieces)
        for answer in answers:
            if isinstance(answer, m.Refused):
                self._say(f"{seat.name}: {answer.episode} is kept up to there: {answer.reason}")
        return list(answers)

    async def _tell(self, seat: Seat, line: "_Line") -> None:
        """New versions and the learner's sign of life, as they come."""
        told: dict[int, str] = {}
        sign, looked = None, -float("inf")
        while True:
            for news in await asyncio.to_thread(
                self._folders.news, seat.run, seat.hello.every, told
            ):
                await line.write(news)
            if clock.now() - looked >= SIGN_S:
                looked = clock.now()
                found = await asyncio.to_thread(_small, seat.run.path / "learner.json")
                if found and found != sign:
                    sign = found
                    await line.write(m.Note(found))
            await asyncio.sleep(POLL_S)

    async def _watch(self, seat: Seat, line: "_Line") -> None:
        """Says that we live; ends when the courier does not, or sits elsewhere."""
        while True:
            if clock.now() - seat.heard > self._silence:
                silence = f"silent for {self._silence:.0f} s"
                raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, silence)
            try:
                async with asyncio.timeout(min(at.BEAT_S, self._silence / 4)):
                    await seat.over.wait()
            except TimeoutError:
                await line.write(m.Beat())
                continue
            raise Refusal(grpc.StatusCode.ABORTED, "it called again")

    async def _fetch(self, request: bytes, context: Any) -> bytes:
        """A part of a version of the parameters."""
        try:
            self._require_token(context)
            wanted = m.parse(request, m.Fetch)
        except Refusal as error:
            await context.abort(error.code, str(error))
        except m.BadMessage as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        try:
            return await asyncio.to_thread(self._folders.part, wanted)
        except OSError:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no version {wanted.version}")
        return b""


async def _farewell(context: Any, error: RobostackError) -> None:
    """Says why in a message: gRPC's own status is lost to a courier that is writing."""
    bye = m.Bye(m.printable(str(error)), _code(error) in at.FINAL)
    with suppress(Exception):  # gone already, or a courier that hears nothing
        async with asyncio.timeout(FAREWELL_S):
            await context.write(m.encode(bye))
            await asyncio.sleep(FAREWELL_S)  # cut short when the courier hangs up


def _code(error: RobostackError) -> grpc.StatusCode:
    match error:
        case Refusal():
            return error.code
        case OutOfStep():
            return grpc.StatusCode.ABORTED
        case m.BadMessage():
            return grpc.StatusCode.INVALID_ARGUMENT
        case Unavailable():
            return grpc.StatusCode.RESOURCE_EXHAUSTED
    return grpc.StatusCode.FAILED_PRECONDITION


class _Line:
    """Owns the way to one courier: gRPC takes one message at a time."""

    def __init__(self, context: Any):
        self._context, self._lock = context, asyncio.Lock()

    async def write(self, message: m.Message) -> None:
        async with self._lock:
            await self._context.write(m.encode(message))


def _json(data: bytes, what: str) -> bytes:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        raise m.BadMessage(f"{what} is not JSON") from None
    return data


def _small(path: Path) -> bytes:
    """A sign of life, b"" where there is none that fits a message."""
    try:
        data = path.read_bytes()
    except OSError:
        return b""
    return data if len(data) <= m.LARGEST else b""
