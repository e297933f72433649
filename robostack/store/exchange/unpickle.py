"""A program of its own: reads transitions or weights from a pickle without running what is in it, for pickles.py.

The only file that imports pickle, and nothing imports this file: it runs as `python -I unpickle.py`, with limits on
memory and time, no way to open a file or a socket, and the standard library alone. What numpy's and JAX's pickles name
is rebuilt here from plain bytes, so no code of theirs meets bytes of a stranger. Every other name is refused.

Out: frames on stdout, each a line of JSON and then the bytes of its arrays; on stderr one line if not.
"""

import json
import os
import pickle
import resource
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

DEEPEST, MOST = 8, 10_000  # dicts in dicts, and arrays in them
PARTS = ("observations", "next_observations")
NUMBERS = ("rewards", "masks", "dones")
DTYPES = {kind + size for kind in "iuf" for size in "1248"} - {"f1"} | {"b1"}


class Refused(Exception):
    """What the last line says."""


class Name:
    """A name that a pickle may call. Takes no state, so a pickle cannot change what it does."""

    __slots__ = ("_make",)

    def __init__(self, make: Any):
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise Refused("it changes a name that it should only call")


class Type:
    """A numpy dtype of plain numbers."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, align: object = False, copy: object = False):
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if not isinstance(text, str) or text.lstrip("<>=|") not in DTYPES:
            raise Refused(f"an array of dtype {str(text)[:20]!r}, expected plain numbers")
        self.code, self.order = text.lstrip("<>=|"), ">" if text.startswith(">") else "<"

    def __setstate__(self, state: Any) -> None:
        # (version, order, subarray, names, fields, size, alignment, flags)
        if not isinstance(state, tuple) or any(part is not None for part in state[2:5]):
            raise Refused("an array with fields, expected plain numbers")
        self.order = ">" if state[1] in (">", b">") else "<"

    @property
    def size(self) -> int:
        return int(self.code[1])


class Array:
    """A numpy array: its dtype, shape and bytes, checked against each other."""

    __slots__ = ("data", "is_fortran", "shape", "type")

    def __init__(self, *_: object):
        self.type, self.shape, self.is_fortran, self.data = Type("f8"), (0,), False, b""

    def fill(self, kind: object, shape: object, is_fortran: object, data: object) -> "Array":
        if isinstance(data, str):  # protocols 0 to 2, read as latin-1
            data = data.encode("latin-1")
        if not isinstance(kind, Type) or not isinstance(data, bytes | bytearray):
            raise Refused("an array of objects, expected plain numbers")
        if isinstance(shape, int):
            shape = (shape,)
        sizes: tuple = shape if isinstance(shape, tuple) and len(shape) <= 8 else (None,)
        if not all(type(size) is int and size >= 0 for size in sizes):
            raise Refused(f"an array of shape {str(shape)[:60]}")
        expected = kind.size
        for size in sizes:
            expected *= size
        if expected != len(data):
            raise Refused(f"an array of shape {sizes} with {len(data)} bytes, expected {expected}")
        self.type, self.shape, self.data = kind, sizes, data
        self.is_fortran = bool(is_fortran)
        return self

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise Refused("an array without its contents")
        shape, kind, is_fortran, data = state[-4:]
        self.fill(kind, shape, is_fortran, data)


def _frombuffer(data: object, kind: object, shape: object, order: object) -> Array:
    """numpy's own helper for protocol 5."""
    return Array().fill(kind, shape, order == "F", data)


def _scalar(kind: object, data: object = b"") -> Array:
    return Array().fill(kind, (), False, data)


def _jax(fun: object, arguments: object, state: object, about: object) -> Array:
    """How a jax.Array is written: what numpy writes of its values, and a word on its type."""
    made = Array()
    made.__setstate__(state)
    return made


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """How protocols 0 to 2 write bytes."""
    if not isinstance(text, str) or str(encoding).replace("-", "") != "latin1":
        raise Refused("text in an encoding of its own")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """How they write no bytes at all."""
    return b""


NAMES: dict[tuple[str, str], Name] = {
    ("numpy", "ndarray"): Name(Array),
    ("numpy", "dtype"): Name(Type),
    ("_codecs", "encode"): Name(_encode),
    ("__builtin__", "bytes"): Name(_no_bytes),
    ("collections", "OrderedDict"): Name(dict),
    ("jax._src.array", "_reconstruct_array"): Name(_jax),
    **{
        (f"numpy.{core}.multiarray", name): Name(make)
        for core in ("core", "_core")  # of numpy 1.x and 2.x
        for name, make in {"_reconstruct": Array, "scalar": _scalar}.items()
    },
    **{(f"numpy.{core}.numeric", "_frombuffer"): Name(_frombuffer) for core in ("core", "_core")},
    **{
        (module, make.__name__): Name(make)
        for module in ("builtins", "__builtin__")
        for make in (set, frozenset)
    },
}


class Reader(pickle.Unpickler):
    """Finds the names above and no other."""

    def find_class(self, module: str, name: str, /) -> Any:
        found = NAMES.get((module, name))
        if found is None:
            raise Refused(f"it asks for {f'{module}.{name}'[:120]!r}, which no plain data needs")
        return found

    def persistent_load(self, pid: object, /) -> Any:
        raise Refused("it asks for an object from outside")


def frame(number: int, transition: object) -> tuple[dict, list[bytes]]:
    """What hil_serl.py wants of one transition: (head, bytes of its arrays)."""
    if not isinstance(transition, dict):
        raise Refused(
            f"item {number} is a {type(transition).__name__}, expected a transition (dict)"
        )
    wanted = (*PARTS, "actions", *NUMBERS)
    if missing := [name for name in wanted if name not in transition]:
        there = ", ".join(str(name)[:20] for name in list(transition)[:12])
        raise Refused(f"transition {number} has no {', '.join(missing)}; it has: {there}")
    found: dict[str, object] = {"actions": transition["actions"]}
    for part in PARTS:
        observation = transition[part]
        if not isinstance(observation, dict):
            raise Refused(f"transition {number}: {part} is no dict of arrays")
        found |= {f"{part}.{name}": value for name, value in observation.items()}
    arrays, data = {}, []
    for name, value in found.items():
        if not isinstance(value, Array):
            raise Refused(
                f"transition {number}: {str(name)[:60]} is a {type(value).__name__}, expected an array"
            )
        arrays[str(name)] = [value.type.order + value.type.code, value.shape, value.is_fortran]
        data.append(value.data)
    for name in NUMBERS:
        value = transition[name]
        if isinstance(value, Array) and len(value.data) == value.type.size:
            arrays[name] = [value.type.order + value.type.code, [], False]
            data.append(value.data)
        elif isinstance(value, bool | int | float):
            arrays[name] = float(value)
        else:
            raise Refused(
                f"transition {number}: {name} is a {type(value).__name__}, expected a number"
            )
    return {"arrays": arrays}, data


def transitions(loaded: object) -> Iterator[tuple[dict, list[bytes]]]:
    """A frame for each."""
    if not isinstance(loaded, list | tuple):
        raise Refused(f"it holds a {type(loaded).__name__}, expected a list of transitions")
    for number, transition in enumerate(loaded):
        yield frame(number, transition)


def weights(loaded: object, most_bytes: int) -> Iterator[tuple[dict, list[bytes]]]:
    """One frame of all arrays, by the names of the dicts that they are in, joined by "/"."""
    if not isinstance(loaded, dict):
        raise Refused(f"it holds a {type(loaded).__name__}, expected weights: a dict of arrays")
    arrays, data, waiting = {}, [], [((), loaded)]
    while waiting:
        path, value = waiting.pop()
        name = "/".join(path)
        if isinstance(value, Array):
            arrays[name] = [value.type.order + value.type.code, value.shape, value.is_fortran]
            data.append(value.data)
            most_bytes -= len(value.data)
        elif isinstance(value, dict) and len(path) < DEEPEST:
            if not all(map(_is_word, value)):
                raise Refused(f"{name[:60] or 'its dict'} has a name that is no plain word")
            waiting += [((*path, key), inner) for key, inner in value.items()]
        else:
            raise Refused(f"{name[:60]} is a {type(value).__name__}, expected an array")
        # An honest file has each array once; a small one that names them over and over would fill the memory.
        if most_bytes < 0 or len(arrays) + len(waiting) > MOST:
            raise Refused("it unfolds to more than is in the file")
    yield {"arrays": arrays}, data


def _is_word(key: object) -> bool:
    return isinstance(key, str) and key.isprintable() and "/" not in key and len(key) <= 80


def main(kind: str, source: BinaryIO, out: BinaryIO) -> None:
    loaded = Reader(source, encoding="latin1").load()
    size = os.fstat(source.fileno()).st_size
    count = 0
    for head, data in transitions(loaded) if kind == "transitions" else weights(loaded, size):
        out.write(json.dumps(head).encode() + b"\n")
        for part in data:
            out.write(part)
        count += 1
    out.write(json.dumps({"frames": count}).encode() + b"\n")
    out.flush()


def limit(megabytes: int, seconds: int) -> None:
    """From here on: so much memory and time, no new file, socket or process, nothing written to a file."""
    wanted = {"AS": megabytes << 20, "NOFILE": 0, "FSIZE": 0, "CORE": 0, "NPROC": 0}
    for name, most in wanted.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


if __name__ == "__main__":
    words = ""
    try:
        handle, megabytes, seconds = map(int, sys.argv[2:])
        source = os.fdopen(handle, "rb")
        limit(megabytes, seconds)
        main(sys.argv[1], source, sys.stdout.buffer)
    except Refused as error:
        words = str(error)
    except MemoryError:
        words = f"it wants more than {sys.argv[3]} MB of memory"
    except BrokenPipeError:
        words = "nobody reads"
    except Exception as error:  # a stranger's bytes: whatever they cause is one line
        words = (
            f"it is damaged or no pickle: {' '.join(str(error).split()) or type(error).__name__}"
        )
    if words:
        os.write(2, words.encode(errors="replace")[:400])
    # Not the ordinary way out: taking a deep or huge tree apart could still fail.
    os._exit(1 if words else 0)
