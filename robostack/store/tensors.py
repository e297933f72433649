"""Arrays and labels as one safetensors file with a sha256 over all of it.

The hash is taken with itself written as zeros, so no byte can change unseen.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from robostack.core.errors import RobostackError
from robostack.store.disk import explained

UNREADABLE = (SafetensorError, struct.error, KeyError, TypeError, ValueError)
UNREADABLE += (OverflowError, RecursionError)  # an infinite version; JSON a thousand brackets deep
_ZEROS = b"0" * 64


class Damaged(RobostackError):
    """A file whose bytes are not those it was saved with."""


def pack(arrays: Mapping[str, np.ndarray], labels: Mapping[str, str]) -> bytes:
    """The file's bytes; equal contents give equal bytes."""
    data = safetensors.save(
        {name: np.array(array, order="C") for name, array in arrays.items()},
        {**labels, "sha256": _ZEROS.decode()},
    )
    data = _in_order(data)
    return _put_hash(data, hashlib.sha256(data).hexdigest())


def unpack(path: Path) -> tuple[dict[str, str], bytes]:
    """A file's labels, "sha256" among them, and its bytes for `arrays`. Raises Damaged or Unavailable.

    What is no such file at all raises one of UNREADABLE: only the caller knows what it should have been.
    """
    with explained("read", path):
        data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    labels = json.loads(data[8 : 8 + size])["__metadata__"]
    if hashlib.sha256(_put_hash(data, _ZEROS.decode())).hexdigest() != labels["sha256"]:
        raise Damaged(f"{path} is damaged: its sha256 is not the one it was saved with")
    return labels, data


def arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays in the bytes that `unpack` gave."""
    return safetensors.load(data)


def _in_order(data: bytes) -> bytes:
    """The same file with sorted labels: safetensors writes them in an order of chance."""
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors stay aligned
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def _put_hash(data: bytes, sha256: str) -> bytes:
    """The same file with another hash in it."""
    (size,) = struct.unpack_from("<Q", data)
    key = b'"sha256":"'
    start = data.index(key, 8, 8 + size) + len(key)
    return data[:start] + sha256.encode() + data[start + 64 :]
