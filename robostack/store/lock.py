"""One run, one set of processes: a lock that is held, not written, so that it frees itself when they die."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robostack.core import clock
from robostack.core.errors import Unavailable
from robostack.store.disk import explained

ENDING_S = 5.0  # s that processes whose parent was killed may take to end
POLL_S = 0.05


@contextmanager
def held(path: Path) -> Iterator[int]:
    """The lock `path` is ours within the block; gives its descriptor. Raises Unavailable naming who holds it.

    Processes that inherit the descriptor hold it too: the lock is free once all of them are gone.
    """
    with explained("lock", path):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(file, path)
        with suppress(OSError):  # on a full disk the lock holds without its owner's name
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield file
    finally:
        os.close(file)


def _take(file: int, path: Path) -> None:
    deadline = clock.now() + ENDING_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            owner = os.pread(file, 32, 0).decode(errors="replace").strip()
        except OSError as error:
            raise Unavailable(f"cannot lock {path}: {error.strerror}") from error
        if _is_alive(owner) or clock.now() > deadline:
            raise Unavailable(
                f"{path.parent} is being worked on by process {owner if _is_alive(owner) else _holders(path)}; "
                "wait for it, or end it with Ctrl-C or `kill`"
            )
        clock.sleep(POLL_S)


def _is_alive(pid: str) -> bool:
    return pid.isdecimal() and Path(f"/proc/{pid}").exists()


def _holders(path: Path) -> str:
    """Who has the file open, "12 and 34": what a killed owner left behind."""
    found, wanted = [], path.resolve()
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):  # gone, or another user's
            if int(folder.parent.name) != os.getpid() and any(
                file.resolve() == wanted for file in folder.iterdir()
            ):
                found.append(folder.parent.name)
    return " and ".join(found) or "(another user's)"
