"""How an episode's messages stand in a file: JSON with chained checksums, in the records of MCAP.

One message is one step, so nothing is chunked or compressed: a step must be on its way to the disk when the tick ends.
"""

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
from mcap.writer import MCAP0_MAGIC, IndexType, Writer

from robostack import __version__
from robostack.core.spec import Spec, Term
from robostack.core.types import Who
from robostack.store.disk import sync_folder, write_all

FORMAT = 1  # of episode files; raised when an older robostack could not read a newer file

HEADER, OBSERVATION, STEP, END = "header", "observation", "step", "end"
_CHANNELS = {name: number for number, name in enumerate((HEADER, OBSERVATION, STEP, END), start=1)}
_PREFIX = "/episode/"
_CHANNEL, _MESSAGE = 0x04, 0x05  # opcodes of MCAP, https://mcap.dev/spec
_CHECKSUM = b',"crc32":'
_LATEST = 1.8e10  # s; MCAP counts nanoseconds in 64 bits


class MessageFile:
    """Owns one growing file. What was added reaches the system in one write, at `commit`. Raises OSError."""

    def __init__(self, path: Path, spec: Spec):
        self.path = path
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115 - closed by close()
        self._pending, self._size, self._chain = bytearray(), 0, 0
        # Indexes are for chunks, and there are none.
        self._writer = Writer(self, index_types=IndexType.NONE, use_chunking=False)  # type: ignore[arg-type]
        self._writer.start(library=f"robostack {__version__}")
        for name, schema in _schemas(spec).items():
            title = f"robostack.episode.{name}"
            number = self._writer.register_schema(title, "jsonschema", json.dumps(schema).encode())
            self._writer.register_channel(_PREFIX + name, "json", number)

    def write(self, data: bytes) -> None:
        """For the MCAP writer."""
        self._pending += data

    def tell(self) -> int:
        """For the MCAP writer."""
        return self._size + len(self._pending)

    def add(self, *messages: tuple[str, float, dict]) -> None:
        """Adds (name, stamp in s, record) messages, or none of them. Raises ValueError or TypeError."""
        chain, ready = self._chain, []
        for name, stamp, record in messages:
            text = json.dumps(record, allow_nan=False, separators=(",", ":"), default=_plain)
            body = text.encode()[:-1]
            chain = _checksum(name, body, chain)
            time = round(min(max(0.0, stamp), _LATEST) * 1e9)
            ready.append((_CHANNELS[name], time, body + _CHECKSUM + b"%d}" % chain))
        for channel, time, data in ready:
            self._writer.add_message(channel, time, data, time)
        self._chain = chain

    def commit(self) -> None:
        data, self._pending = self._pending, bytearray()
        write_all(self._file, data)
        self._size += len(data)

    def finish(self) -> None:
        """Closes the file as MCAP asks: after this it ends in MCAP's magic and outlives a power cut."""
        self._writer.finish()
        self.commit()
        os.fsync(self._file.fileno())
        sync_folder(self.path.parent)

    def close(self) -> None:
        self._file.close()


def is_finished(path: Path) -> bool:
    """Whether the file ends as a finished MCAP file does. Raises OSError."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(MCAP0_MAGIC)))
        return size > 2 * len(MCAP0_MAGIC) and file.read() == MCAP0_MAGIC


def messages(data: bytes) -> Iterator[tuple[str, dict]]:
    """(name, record) of every whole message, up to the first that is cut, damaged or out of order."""
    place, chain, names = len(MCAP0_MAGIC), 0, {}
    if data[:place] != MCAP0_MAGIC:
        raise ValueError("it does not begin as MCAP does")
    while place + 9 <= len(data):
        opcode, size = struct.unpack_from("<BQ", data, place)
        start, place = place + 9, place + 9 + size
        if place > len(data):
            return
        if opcode == _CHANNEL:
            number, _, length = struct.unpack_from("<HHI", data, start)
            names[number] = (
                data[start + 8 : start + 8 + length].decode(errors="replace").removeprefix(_PREFIX)
            )
        elif opcode == _MESSAGE:
            (number,) = struct.unpack_from("<H", data, start)
            body, _, checksum = data[start + 22 : place].rpartition(_CHECKSUM)
            name = names.get(number, "")
            chain = _checksum(name, body, chain)
            if checksum != b"%d}" % chain:
                return
            yield name, json.loads(body + b"}")


def _checksum(name: str, body: bytes, chain: int) -> int:
    """CRC-32 of the message before, this one's name and its body."""
    return crc32(body, crc32(name.encode(), chain))


def _plain(value: object) -> object:
    """numpy in a header's `drawn`, as JSON knows it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no place in JSON")


def _schemas(spec: Spec) -> dict[str, dict]:
    """JSON schema of each message, in the order of their channels."""
    number, text, flag = {"type": "number"}, {"type": "string"}, {"type": "boolean"}
    count, anything, action = {"type": "integer"}, {"type": "object"}, _numbers(*spec.action)
    terms = {
        "type": "object",
        "properties": {term.name: _numbers(term) for term in spec.observation},
    }
    step = {
        "action_policy": action,
        "action": action,
        "who": {"enum": [who.name.lower() for who in Who]},
    }
    step |= {"reward": number, "terminated": flag, "truncated": flag, "parameters": count}
    step |= {"stamp": number, "age": number, "lateness": number, "guard": text}
    records = {
        HEADER: {"format": count, "header": anything, "spec": anything},
        OBSERVATION: {"frame": count, "terms": terms},
        STEP: {"step": count, **step},
        END: {"steps": count, "is_success": flag},
    }
    return {
        name: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {**properties, "crc32": count},
            "required": [*properties, "crc32"],
        }
        for name, properties in records.items()
    }


def _numbers(*terms: Term) -> dict:
    """An array as long as the terms together, described by their units, frames and scales."""
    size = sum(term.size for term in terms)
    about = (
        f"{t.name}: {t.unit}; frame: {t.frame or 'none'}; value = number times {list(t.scale)}"
        for t in terms
    )
    array = {"type": "array", "items": {"type": "number"}, "minItems": size, "maxItems": size}
    return {**array, "description": "; ".join(about)}
