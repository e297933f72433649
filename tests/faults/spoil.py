"""Ways to spoil real inputs. Lengths and checksums are mostly mended after, to reach what lies behind them."""

import hashlib
import json
import random
import struct
from collections.abc import Iterator
from typing import Any
from zlib import crc32

from mcap.writer import MCAP0_MAGIC

from robostack.store.link import message as m

MAGIC = MCAP0_MAGIC
CHANNEL, MESSAGE, METADATA = 0x04, 0x05, 0x0C
RECORD = struct.Struct("<BQ")
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 2**31, 2**53 + 1, 2**64, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e308, 1e-320,
    float("nan"), float("inf"), "", "x", "0", "1", "a" * 300, "\0", "\n", "../x", "cut", "policy", [], {}, [[]], [0],
    {"": 0}, [None], {"x": [1]},
)  # fmt: skip
DEEP = b"[" * 3000


# --- JSON


def spoiled_json(text: bytes, rng: random.Random) -> bytes:
    """The same text with something else in one to three places."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return spoiled_bytes(text, rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = _spoiled_value(value, rng)
    try:
        found = json.dumps(value, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return text
    return found.replace(b'"deep"', DEEP) if rng.random() < 0.02 else found


def _spoiled_value(value: Any, rng: random.Random) -> Any:
    if rng.random() < 0.15 or not isinstance(value, dict | list) or not value:
        return rng.choice(ODD) if rng.random() < 0.95 else "deep"
    if isinstance(value, dict):
        name = rng.choice(list(value))
        match rng.randrange(8):
            case 0:
                return {key: each for key, each in value.items() if key != name}
            case 1:
                return {
                    **value,
                    rng.choice(("", "x", "stamp", "steps", name + "_")): rng.choice(ODD),
                }
        return {**value, name: _spoiled_value(value[name], rng)}
    place = rng.randrange(len(value))
    match rng.randrange(8):
        case 0:
            return value[:place] + value[place + 1 :]
        case 1:
            return value[:place] + [rng.choice(ODD)] + value[place:]
    return [*value[:place], _spoiled_value(value[place], rng), *value[place + 1 :]]


def spoiled_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bits flipped, parts cut, doubled or moved."""
    found = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        place = rng.randrange(len(found) + 1)
        end = min(len(found), place + rng.choice((1, 1, 2, 4, 8, 30)))
        match rng.randrange(6):
            case 0:
                del found[place:end]
            case 1:
                found[place:place] = found[place:end]
            case 2:
                found[place:end] = rng.randbytes(end - place)
            case 3:
                found[place:end] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * (end - place)
            case 4:
                del found[place:]
            case _:
                if place < len(found):
                    found[place] ^= 1 << rng.randrange(8)
        found = found or bytearray(b"\0")
    return bytes(found)


# --- Episode files


def records(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """(opcode, body) of each whole record after the magic, and what is left."""
    place, found = len(MAGIC), list[tuple[int, bytes]]()
    while place + RECORD.size <= len(data):
        opcode, size = RECORD.unpack_from(data, place)
        stop = place + RECORD.size + size
        if opcode == MAGIC[0] or stop > len(data):
            break
        found.append((opcode, data[place + RECORD.size : stop]))
        place = stop
    return found, data[place:]


def _text_of(payload: bytes) -> bytes:
    """JSON in a serialised String, without its checksum."""
    return payload[8:-1].rpartition(b',"crc32":')[0] + b"}"


def _payload(text: bytes) -> bytes:
    return b"\0\1\0\0" + struct.pack("<I", len(text) + 1) + text + b"\0"


def _topics(found: list[tuple[int, bytes]]) -> Iterator[tuple[int, str]]:
    for opcode, body in found:
        if opcode == CHANNEL and len(body) >= 8:
            number, _, size = struct.unpack_from("<HHI", body)
            yield number, body[8 : 8 + size].decode(errors="replace")


def mended_episode(found: list[tuple[int, bytes]], rest: bytes) -> bytes:
    """The file of these records, with lengths and checksums that fit."""
    topics, chain, out = dict(_topics(found)), 0, bytearray(MAGIC)
    for opcode, body in found:
        if opcode == MESSAGE and len(body) >= 22:
            topic = topics.get(struct.unpack_from("<H", body)[0], "")
            if topic.startswith("/episode/"):
                text = _text_of(body[22:])[:-1]
                chain = crc32(text, crc32(topic.removeprefix("/episode/").encode(), chain))
                body = body[:22] + _payload(text + b',"crc32":%d}' % chain)
            else:
                chain = crc32(body[22:], crc32(topic.encode(), chain))
        elif opcode == METADATA:
            body = _mended_metadata(body)
        out += RECORD.pack(opcode, len(body)) + body
    return bytes(out + rest)


def _mended_metadata(body: bytes) -> bytes:
    """With the checksum that fits its JSON."""
    place, checksum = body.find(b"\x04\0\0\0json"), body.find(b"\x05\0\0\0crc32")
    if place < 0 or checksum < place:
        return body
    text = body[place + 12 : checksum]
    fitting = str(crc32(text)).encode()
    pairs = (b"json", text, b"crc32", fitting)
    parts = b"".join(struct.pack("<I", len(part)) + part for part in pairs)
    (size,) = struct.unpack_from("<I", body)
    return body[: 4 + size] + struct.pack("<I", len(parts)) + parts


def spoiled_episode(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.15:
        return spoiled_bytes(data, rng)
    found, rest = records(data)
    if not found:
        return spoiled_bytes(data, rng)
    place = rng.randrange(len(found))
    opcode, body = found[place]
    match rng.randrange(7):
        case 0:
            del found[place]
        case 1:
            found.insert(place, found[rng.randrange(len(found))])
        case 2:
            other = rng.randrange(len(found))
            found[place], found[other] = found[other], found[place]
        case 3:
            found[place] = opcode, spoiled_bytes(body, rng)
        case _:
            place, (opcode, body) = rng.choice(_with_json(found) or [(place, (opcode, body))])
            found[place] = opcode, _with_spoiled_json(opcode, body, rng)
    return mended_episode(found, rest)


def _with_json(found: list[tuple[int, bytes]]) -> list[tuple[int, tuple[int, bytes]]]:
    return [
        (place, (opcode, body))
        for place, (opcode, body) in enumerate(found)
        if (opcode == MESSAGE and b',"crc32":' in body) or (opcode == METADATA and b"json{" in body)
    ]


def _with_spoiled_json(opcode: int, body: bytes, rng: random.Random) -> bytes:
    if opcode == MESSAGE:
        text = spoiled_json(_text_of(body[22:]), rng)
        return body[:22] + _payload(text[:-1] + b',"crc32":0}')
    start, stop = body.find(b"json") + 8, body.find(b"\x05\0\0\0crc32")
    if start < 8 or stop < start:
        return spoiled_bytes(body, rng)
    return body[:start] + spoiled_json(body[start:stop], rng) + body[stop:]


# --- Tensors, messages


def spoiled_tensors(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.2 or len(data) < 8:
        return spoiled_bytes(data, rng)
    size = min(struct.unpack_from("<Q", data)[0], len(data) - 8)
    header, rest = data[8 : 8 + size], data[8 + size :]
    if rng.random() < 0.2:
        rest = spoiled_bytes(rest, rng)
    else:
        header = _spoiled_labels(header, rng) if rng.random() < 0.6 else spoiled_json(header, rng)
    return mended_tensors(struct.pack("<Q", len(header)) + header + rest)


def _spoiled_labels(header: bytes, rng: random.Random) -> bytes:
    """Something else inside the JSON that is text inside this JSON."""
    try:
        found = json.loads(header)
        name = rng.choice(sorted(found["__metadata__"]))
        text = spoiled_json(found["__metadata__"][name].encode(), rng)
        found["__metadata__"][name] = text.decode(errors="replace")
        return json.dumps(found).encode()
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return spoiled_bytes(header, rng)


def mended_tensors(data: bytes) -> bytes:
    place = data.find(b'"sha256"')
    place = data.find(b'"', place + 9) + 1 if place >= 0 else 0
    if not place or place + 64 > len(data):
        return data
    digest = hashlib.sha256(data[:place] + b"0" * 64 + data[place + 64 :]).hexdigest()
    return data[:place] + digest.encode() + data[place + 64 :]


def spoiled_message(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3 or len(data) < 6:
        return spoiled_bytes(data, rng)
    stop = 6 + int.from_bytes(data[2:6], "little")
    head, rest = spoiled_json(data[6:stop], rng), data[stop:]
    kind = bytes([rng.randrange(len(m.KINDS))]) if rng.random() < 0.1 else data[1:2]
    return data[:1] + kind + len(head).to_bytes(4, "little") + head + rest
