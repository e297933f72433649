"""What crosses the link: small typed messages, parsed strictly. No message brings code to run or a path to write to.

On the wire: one byte protocol version, one byte kind, four bytes length of the head, the head (a JSON object with
exactly the message's fields), then the field `data`, if the kind has one, as raw bytes.
"""

import json
import re
from dataclasses import dataclass, fields
from functools import cache
from typing import TypeVar

from robostack.core.errors import RobostackError

PROTOCOL = 1  # raised when an older robostack could not speak to a newer one
LARGEST = 1 << 20  # bytes of `data`
LARGEST_HEAD = 1 << 19  # bytes; a config in it may be half of that
LARGEST_MESSAGE = LARGEST + LARGEST_HEAD + 6

_EPISODE = re.compile(r"\d{6,12}-[A-Za-z0-9_]{1,40}\.mcap")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{64}|")
_MOST = 1 << 53  # of any whole number: JSON readers agree up to here


class BadMessage(RobostackError):
    """Bytes that are no message of ours."""


class Message:
    """Base of all kinds; checks what every field of a kind must be."""

    def __post_init__(self):
        for field in fields(self):  # type: ignore[arg-type]
            _require(field.name, field.type, getattr(self, field.name))


@dataclass(frozen=True)
class Hello(Message):
    """Courier, first: which run, which actor, and what the run was asked to do."""

    run: str  # name of the run's folder
    id: str  # of the run: two of one name are told apart
    actor: str  # "" for the only one
    seat: str  # digest of this courier's folder: the same one may take its place again at once
    config: str  # config.json
    every: bool  # send every version of the parameters in order (lockstep), not just the newest


@dataclass(frozen=True)
class Welcome(Message):
    """Server: go on."""


@dataclass(frozen=True)
class Offer(Message):
    """Courier: I have this file; what of it is there? `tail` is that of a finished file, else ""."""

    episode: str
    size: int
    tail: str


@dataclass(frozen=True)
class Have(Message):
    """Server: so much of it is here. `digest` is over the bytes both have; "" where size and tail agree."""

    episode: str
    received: int
    digest: str
    is_finished: bool


@dataclass(frozen=True)
class Retire(Message):
    """Courier: what you have under this name was cut and played again; put it aside."""

    episode: str


@dataclass(frozen=True)
class Piece(Message):
    """Courier: the bytes from `offset` on."""

    episode: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class Ack(Message):
    """Server: `received` bytes came, and those up to `durable` are whole steps that outlive a power cut here."""

    episode: str
    received: int
    durable: int
    steps: int
    is_finished: bool


@dataclass(frozen=True)
class Refused(Message):
    """Server: nothing more of this file, and why; other files go on."""

    episode: str
    reason: str


@dataclass(frozen=True)
class Pin(Message):
    """Courier: the actor gave a version of the parameters a name, so it must be kept."""

    name: str
    version: int


@dataclass(frozen=True)
class Note(Message):
    """Either side: its sign of life, actor.json or learner.json, as it is."""

    data: bytes


@dataclass(frozen=True)
class News(Message):
    """Server: this version can be fetched."""

    version: int
    size: int
    digest: str


@dataclass(frozen=True)
class Fetch(Message):
    """Courier: `length` bytes of a version from `offset` on; the answer is these bytes alone."""

    run: str
    version: int
    offset: int
    length: int


@dataclass(frozen=True)
class Beat(Message):
    """Either side: I am here and have nothing to say."""


@dataclass(frozen=True)
class Bye(Message):
    """Server: I end this call, and why; call again unless that is no use. gRPC's own status may be lost to a write."""

    reason: str
    is_final: bool


KINDS = (
    Hello,
    Welcome,
    Offer,
    Have,
    Retire,
    Piece,
    Ack,
    Refused,
    Pin,
    Note,
    News,
    Fetch,
    Beat,
    Bye,
)
M = TypeVar("M", bound=Message)


def encode(message: Message) -> bytes:
    head = {name: value for name, value in vars(message).items() if name != "data"}
    text = json.dumps(head, separators=(",", ":")).encode()
    start = bytes([PROTOCOL, KINDS.index(type(message))]) + len(text).to_bytes(4, "little")
    return b"".join((start, text, getattr(message, "data", b"")))


def parse(data: bytes, *kinds: type[M]) -> M:
    """The message, which must be one of `kinds`. Raises BadMessage, one line, for anything else."""
    if len(data) < 6 or len(data) > LARGEST_MESSAGE:
        raise BadMessage(f"a message of {len(data)} bytes, expected 6 to {LARGEST_MESSAGE}")
    if data[0] != PROTOCOL:
        raise BadMessage(
            f"the other side speaks link protocol {data[0]}, this robostack {PROTOCOL}; "
            "install the same robostack on both machines"
        )
    if data[1] >= len(KINDS) or (kind := KINDS[data[1]]) not in kinds:
        expected = ", ".join(kind.__name__ for kind in kinds)
        raise BadMessage(f"a message of kind {data[1]}, expected {expected}")
    stop = 6 + int.from_bytes(data[2:6], "little")
    if stop > min(len(data), 6 + LARGEST_HEAD):
        raise BadMessage(f"{kind.__name__}: its head ends at byte {stop} of {len(data)}")
    try:
        values = json.loads(data[6:stop])
    except (ValueError, RecursionError):
        raise BadMessage(f"{kind.__name__}: its head is not JSON") from None
    names = _heads(kind)
    if not isinstance(values, dict) or set(values) != names:
        raise BadMessage(f"{kind.__name__}: its head has not the fields {sorted(names)}")
    if _has_data(kind):
        values["data"] = data[stop:]
    elif stop != len(data):
        raise BadMessage(f"{kind.__name__}: {len(data) - stop} bytes too many")
    return kind(**values)  # type: ignore[return-value]


@cache
def _heads(kind: type[Message]) -> set[str]:
    return {field.name for field in fields(kind)} - {"data"}  # type: ignore[arg-type]


@cache
def _has_data(kind: type[Message]) -> bool:
    return any(field.name == "data" for field in fields(kind))  # type: ignore[arg-type]


def _require(name: str, expected: object, value: object) -> None:
    if type(value) is not expected:
        wanted = getattr(expected, "__name__", expected)
        raise BadMessage(f"{name} is a {type(value).__name__}, expected {wanted}")
    if not _is_good(name, value):
        shown = repr(value[:60]) if isinstance(value, str | bytes) else value
        raise BadMessage(f"{name} is {shown}, which no {name} can be")


def _is_good(name: str, value: object) -> bool:
    match value:
        case int():  # and bool
            return 0 <= value <= _MOST
        case bytes():
            return len(value) <= LARGEST
        case str():
            return _is_good_text(name, value)
    return False


def _is_good_text(name: str, value: str) -> bool:
    if name == "episode":
        return _EPISODE.fullmatch(value) is not None
    if name in ("digest", "tail", "seat"):
        return _DIGEST.fullmatch(value) is not None
    if name in ("run", "id", "name", "actor"):
        # An actor's files lie in a folder of its name, beside that of the cut episodes.
        return is_name(value) or (name == "actor" and not value)
    return len(value) <= LARGEST_HEAD // 2 and (name == "config" or value.isprintable())


def printable(text: str) -> str:
    """A line that may be sent and shown."""
    return "".join(character if character.isprintable() else "?" for character in text)[:1000]


def is_name(text: str) -> bool:
    """Whether a run, an actor or a pin may be called so: it becomes the name of a file."""
    return _NAME.fullmatch(text) is not None and text != "cut"
