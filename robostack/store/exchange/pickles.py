"""Arrays out of a stranger's pickle: another process opens it (unpickle.py); nothing it says is believed unseen."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from robostack.core.errors import RobostackError
from robostack.store.disk import explained

PROGRAM = Path(__file__).with_name("unpickle.py")
LONGEST_HEAD = 1 << 20  # bytes, of one frame's line


def read(
    path: Path, kind: str, megabytes: int | None = None, seconds: int | None = None
) -> Generator[dict[str, np.ndarray], None, None]:
    """What is in a pickle, from a process that may take so much memory and computing.

    "transitions": each transition of a list as named arrays, "observations.wrist" (HIL-SERL's demonstrations).
    "weights": one dict of arrays by path, "conv_init/kernel", of dicts in dicts.
    The limits are by default what a file of this size can need. Raises RobostackError in one line, whatever is in it.
    """
    with explained("read", path):
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its other end
            raise RobostackError(f"{path} is no file")
        source = open(path, "rb")  # noqa: SIM115 - closed in three lines; the other process keeps its own
    with source:
        size = os.fstat(source.fileno()).st_size
        megabytes = megabytes or 256 + 3 * size // 1_000_000
        seconds = seconds or 20 + size // 5_000_000
        child = _start(kind, source.fileno(), megabytes, seconds)
    assert child.stdout and child.stderr
    # Waiting is not computing; this ends a process that waits.
    watch = threading.Timer(4 * seconds + 10, child.kill)
    watch.start()
    try:
        yield from _frames(child.stdout, megabytes << 20)
    except _Cut:
        said = child.stderr.read(1000).decode(errors="replace").strip()
        code = child.wait()
        if code == -signal.SIGXCPU or code == -signal.SIGKILL:
            said = f"it takes more than {seconds} s to read, a file of {size / 1e6:.1f} MB may not"
        why = said or f"its reader crashed (exit status {code})"
        raise RobostackError(f"{path} is refused: {why}") from None
    finally:
        watch.cancel()
        child.kill()
        child.communicate()


def _start(kind: str, handle: int, megabytes: int, seconds: int) -> subprocess.Popen[bytes]:
    limits = str(handle), str(megabytes), str(seconds)
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(PROGRAM), kind, *limits],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(handle,),
        cwd="/",
        env={},
        start_new_session=True,
    )


class _Cut(Exception):
    """The other process ended before its last line, or wrote what it never writes."""


def _frames(stream: IO[bytes], most_bytes: int) -> Iterator[dict[str, np.ndarray]]:
    """What unpickle.py writes."""
    count = 0
    while True:
        try:
            head = json.loads(stream.readline(LONGEST_HEAD))
            if "frames" in head:
                if head["frames"] != count:
                    raise _Cut
                return
            found = {n: _array(stream, about, most_bytes) for n, about in head["arrays"].items()}
        except (ValueError, KeyError, TypeError, OverflowError, MemoryError, AttributeError):
            raise _Cut from None
        yield found
        count += 1


def _array(stream: IO[bytes], about: object, most_bytes: int) -> np.ndarray:
    if isinstance(about, float | int):
        return np.array(float(about))
    if not isinstance(about, list):
        raise TypeError
    dtype, shape, is_fortran = np.dtype(str(about[0])), [int(n) for n in about[1]], bool(about[2])
    size = prod(shape) * dtype.itemsize
    if dtype.kind not in "biuf" or not 0 <= size <= most_bytes:
        raise ValueError
    data = stream.read(size)
    if len(data) != size:
        raise ValueError
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
