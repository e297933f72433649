"""What stands in an episode file, up to the first message that does not fit: whole files, and files that still grow."""

import json
import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any
from zlib import crc32

from mcap.reader import SeekingReader
from mcap.writer import MCAP0_MAGIC

from robostack.store import sensors
from robostack.store.schema import END, HEADER, OBSERVATION, STEP
from robostack.store.wire import CHECKSUM, FORMAT, MOST_BYTES, OUTCOME, PREFIX, checksum

_CHANNEL, _MESSAGE = 0x04, 0x05  # opcodes of MCAP, https://mcap.dev/spec


def is_finished(path: Path) -> bool:
    """Whether the file ends as a finished MCAP file does. Raises OSError."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(MCAP0_MAGIC)))
        return size > 2 * len(MCAP0_MAGIC) and file.read() == MCAP0_MAGIC


def outcome(path: Path) -> dict[str, Any] | None:
    """What `finish` was told, or None where it was not or by an older robostack. Raises OSError, ValueError."""
    if not is_finished(path):
        return None
    with open(path, "rb", buffering=0) as raw, _Frugal(raw) as file:
        reader = SeekingReader(file, record_size_limit=MOST_BYTES)
        if reader.get_summary() is None:  # it would look for them from the file's beginning
            return None
        for record in reader.iter_metadata():
            if record.name == OUTCOME:
                text = record.metadata["json"]
                if record.metadata["crc32"] != str(crc32(text.encode())):
                    raise ValueError("its last record is damaged")
                return json.loads(text)
    return None


class _Frugal(BufferedReader):
    """A file for readers that believe any length that stands in it: they get no more than a record may have."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(MOST_BYTES if size is None or size < 0 else size, MOST_BYTES))


class Chain:
    """Owns what a reader must know between two messages: channels, the checksum, and which record comes next."""

    def __init__(self):
        self.steps = -1  # whole ones so far; -1 before the first observation
        self.is_ended = False
        self._names: dict[
            int, tuple[str, bool]
        ] = {}  # topic, and whether it is plain JSON, as format 1 has it
        self._value, self._next = 0, HEADER

    def take(self, opcode: int, body: memoryview) -> tuple[str, Any] | None:
        """(name, record) or (topic, serialised message), or None for what is neither. Raises ValueError for damage.

        A sensor's message is to be trusted only when the next record has come.
        """
        if opcode == _CHANNEL:
            number, _, length = struct.unpack_from("<HHI", body)
            topic, encoding = bytes(body[8 : 8 + length]).decode(), body[12 + length :]
            self._names[number] = topic, encoding[:4] == b"json"
        if opcode != _MESSAGE:
            return None
        if self.is_ended:
            raise ValueError("a message follows the end")
        (number,) = struct.unpack_from("<H", body)
        (topic, is_plain), data = self._names[number], body[22:]
        if not topic.startswith(PREFIX):
            self._value = checksum(topic, data, self._value)
            return topic, data
        text = bytes(data) if is_plain else sensors.from_text(bytes(data))
        return self._record(topic.removeprefix(PREFIX), text)

    def _record(self, name: str, data: bytes) -> tuple[str, dict]:
        body, _, written = data.rpartition(CHECKSUM)
        self._value = checksum(name, body, self._value)
        if written != b"%d}" % self._value:
            raise ValueError(f"the checksum of a {name} does not fit")
        record = json.loads(body + b"}", parse_constant=_refuse)
        if name != self._next and not (name == END and self._next == STEP):
            raise ValueError(f"a {name} stands where a {self._next} should")
        if name == HEADER:
            require_known(record["format"])
        elif name == END:
            if record["steps"] != self.steps:
                raise ValueError(f"its end counts {record['steps']} steps, {self.steps} are there")
            self.is_ended = True
        elif name == STEP and record["step"] != self.steps:
            raise ValueError(f"step {record['step']} stands where step {self.steps} should")
        elif name == OBSERVATION:
            if record["frame"] != (wanted := self.steps + 1):
                raise ValueError(f"frame {record['frame']} stands where frame {wanted} should")
            self.steps = wanted
        self._next = STEP if name == OBSERVATION else OBSERVATION
        return name, record


class NewerFormat(ValueError):
    """A file of a format that only a newer robostack reads."""


def require_known(got: object) -> None:
    """Raises NewerFormat, with both versions."""
    if not isinstance(got, int) or not 1 <= got <= FORMAT:
        raise NewerFormat(
            f"has episode format {got}, this robostack reads up to {FORMAT}; "
            "read it with the robostack that wrote it, or a newer one"
        )


def messages(data: bytes | memoryview) -> Iterator[tuple[str, Any]]:
    """(name, record) and (topic, message) in order, up to the first that is cut, damaged or out of place.

    Sensors' messages after the last record are not to be trusted. Raises NewerFormat, or ValueError for another file.
    """
    view, chain = memoryview(data), Chain()
    if view[: len(MCAP0_MAGIC)] != MCAP0_MAGIC[: len(view)]:
        raise ValueError("it does not begin as MCAP does")
    records = _records(view, len(MCAP0_MAGIC))
    while True:
        try:
            opcode, start, stop = next(records)
            item = chain.take(opcode, view[start:stop])
        except NewerFormat:
            raise
        except (StopIteration, *_DAMAGE):
            return
        if item:
            yield item


# What bytes that are not ours lead to: too short, no such channel, no JSON, too deep, not text.
_DAMAGE = (ValueError, KeyError, TypeError, RecursionError, struct.error)

AFTER_END = "something follows the file's end"


class Prefix:
    """Owns the check of a file that grows elsewhere: how much of what came is whole, and whether more can be."""

    def __init__(self):
        self.size = 0  # bytes up to the last whole step; all bytes once the file is finished
        self.is_finished = False
        self.error = ""  # why nothing after `size` can become good
        self._chain, self._tail, self._start = Chain(), bytearray(), 0  # the tail begins at `start`
        self._needed = len(MCAP0_MAGIC)  # bytes of the tail before which nothing can be said

    @property
    def steps(self) -> int:
        """Whole steps up to `size`."""
        return max(0, self._chain.steps)

    def feed(self, data: bytes | memoryview) -> None:
        """The next bytes of the file."""
        if self.error:
            return
        self._tail += data
        if len(self._tail) < self._needed:
            return
        try:
            used = self._advance(memoryview(bytes(self._tail)))
        except _DAMAGE as error:
            self.error = str(error) or type(error).__name__
            return
        del self._tail[:used]
        self._start += used
        if len(self._tail) >= 9:  # a record that has begun; its size was looked at
            self._needed = 9 + struct.unpack_from("<BQ", self._tail)[1]
        else:  # after the end, a single byte is too much
            self._needed = 1 if self.is_finished else len(MCAP0_MAGIC)

    def _advance(self, view: memoryview) -> int:
        """Takes whole records; returns how many bytes they are. Raises one of _DAMAGE."""
        if self.is_finished:
            raise ValueError(AFTER_END)
        magic, place = len(MCAP0_MAGIC), 0
        if not self._start:
            if view[:magic] != MCAP0_MAGIC:
                raise ValueError("it does not begin as MCAP does")
            place = magic
        for opcode, start, place in _records(view, place):  # noqa: B020 - place: of the next
            before = self._chain.steps
            self._chain.take(opcode, view[start:place])
            if self._chain.steps > before or self._chain.is_ended:
                self.size = self._start + place
        rest = view[place:]
        if rest[:1] == MCAP0_MAGIC[:1]:
            if not self._chain.is_ended or rest[:magic] != MCAP0_MAGIC[: len(rest)]:
                raise ValueError(AFTER_END)
            if len(rest) >= magic:
                place += magic
                self.size, self.is_finished = self._start + place, True
            if len(rest) > magic:  # however it came in pieces, the file before it is whole
                raise ValueError(AFTER_END)
        return place


def _records(view: memoryview, place: int) -> Iterator[tuple[int, int, int]]:
    """(opcode, start, stop) of each whole record from `place` on. Raises ValueError for one too large to be ours."""
    while place + 9 <= len(view):
        opcode, size = struct.unpack_from("<BQ", view, place)
        if opcode == MCAP0_MAGIC[0]:
            return  # the end of the file
        if size > MOST_BYTES:
            raise ValueError(f"a record of {size} bytes, at most {MOST_BYTES} are expected")
        start, place = place + 9, place + 9 + size
        if place > len(view):
            return
        yield opcode, start, place


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
