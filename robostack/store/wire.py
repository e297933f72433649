"""How an episode's messages stand in a file: all ROS 2 messages, in the records of MCAP.

Ours are JSON in std_msgs/String, since rosbag2 plays no file in which some messages are not CDR; their schemas stand
in a metadata record at the file's start. Each of ours carries a checksum chained over everything before it, the
sensors' messages too. One commit is one step, so nothing is chunked or compressed: a step must be on its way to the
disk when the tick ends.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from mcap.writer import IndexType, Writer

from robostack import __version__
from robostack.core.spec import Spec
from robostack.store import sensors
from robostack.store.disk import PlainFile, sync_folder
from robostack.store.schema import RECORDS, schemas
from robostack.store.spool import SpooledFile

FORMAT = 3  # of episode files; raised when an older robostack could not read a newer file (3: a guide may act)
# Metadata records of MCAP: JSON schemas by record, and what became of the episode, found from the file's end.
SCHEMAS, OUTCOME = "robostack.schemas", "robostack.outcome"

PREFIX = "/episode/"
CHECKSUM = b',"crc32":'
_LATEST = 1.8e10  # s; MCAP counts nanoseconds in 64 bits
MOST_BYTES = 64 * 2**20  # of one record: a picture of 20 megapixels


class MessageFile:
    """Owns one growing file. What was added reaches the system in one write, at `commit`. Raises OSError.

    With a `memory` to wait in, the disk gets every commit too, behind the back of a loop that must not wait for it.
    """

    def __init__(self, path: Path, spec: Spec, memory: Path | None = None):
        self.path = path
        self._file = PlainFile(path) if memory is None else SpooledFile(path, memory)
        self._pending, self._size, self._chain = bytearray(), 0, 0
        self._channels: dict[str, int] = {}  # by topic
        # Indexes of messages are for chunks, and there are none.
        self._writer = Writer(self, index_types=IndexType.METADATA, use_chunking=False)  # type: ignore[arg-type]
        self._writer.start(profile="ros2", library=f"robostack {__version__}")
        published = {name: json.dumps(schema) for name, schema in schemas(spec).items()}
        self._writer.add_metadata(SCHEMAS, published)
        self.declare({PREFIX + name: sensors.TEXT for name in RECORDS})

    def write(self, data: bytes) -> None:
        """For the MCAP writer."""
        self._pending += data

    def tell(self) -> int:
        """For the MCAP writer."""
        return self._size + len(self._pending)

    def declare(self, kinds: Mapping[str, str]) -> None:
        """Makes channels: message type by topic."""
        numbers: dict[str, int] = {}
        for topic, kind in kinds.items():
            if kind not in numbers:
                text = sensors.definition(kind).encode()
                numbers[kind] = self._writer.register_schema(kind, sensors.SCHEMA_ENCODING, text)
            self._channels[topic] = self._writer.register_channel(
                topic, sensors.ENCODING, numbers[kind]
            )

    def add(self, *messages: tuple[str, float, dict] | sensors.Message, at: float = 0.0) -> None:
        """Adds (name, stamp in s, record) and sensors' messages, or none of them; the latter are logged `at`, s.

        Raises ValueError or TypeError.
        """
        chain, ready = self._chain, []
        for message in messages:
            if isinstance(message, sensors.Message):
                if message.topic not in self._channels:
                    raise ValueError(f"{message.topic} was not there when the episode began")
                channel, data = self._channels[message.topic], bytes(message.data)
                chain = checksum(message.topic, data, chain)
                ready.append((channel, _time(at), data, _time(message.stamp)))
                continue
            name, stamp, record = message
            text = json.dumps(record, allow_nan=False, separators=(",", ":"), default=_plain)
            body = text.encode()[:-1]
            chain = checksum(name, body, chain)
            data = sensors.to_text((body + CHECKSUM + b"%d}" % chain).decode())
            ready.append((self._channels[PREFIX + name], _time(stamp), data, _time(stamp)))
        for channel, logged, data, published in ready:
            self._writer.add_message(channel, logged, data, published)
        self._chain = chain

    def commit(self) -> None:
        data, self._pending = self._pending, bytearray()
        self._file.write(data)
        self._size += len(data)

    def finish(self, became: dict[str, Any]) -> None:
        """Closes the file as MCAP asks: after this it ends in MCAP's magic and outlives a power cut."""
        text = json.dumps(became, allow_nan=False, default=_plain)
        self._writer.add_metadata(OUTCOME, {"json": text, "crc32": str(crc32(text.encode()))})
        self._writer.finish()
        self.commit()
        self._file.sync()
        sync_folder(self.path.parent)

    def close(self) -> None:
        self._file.close()


def checksum(name: str, body: bytes | memoryview, chain: int) -> int:
    """CRC-32 of the message before, this one's name and its body."""
    return crc32(body, crc32(name.encode(), chain))


def _time(stamp: float) -> int:
    """ns, as far as MCAP can count."""
    return round(min(max(0.0, stamp), _LATEST) * 1e9)


def _plain(value: object) -> object:
    """numpy in a header's `drawn`, as JSON knows it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no place in JSON")
