"""A growing file that is written behind the back of a control loop, so that no disk ever holds the loop up.

A disk that is busy with somebody else's data makes a plain write wait for hundreds of milliseconds. So each piece goes
into a small file in memory first (tmpfs: it outlives this process, and never waits), and a thread brings it to the
disk. A process that is killed leaves its pieces there; `recover` brings them after. Only a power cut loses them: the
step or two that were on their way.
"""

import os
import shutil
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

from robostack.core.errors import Unavailable
from robostack.store.disk import write_all

MEMORY = Path("/dev/shm")
MOST_BYTES = 256 * 2**20  # that wait for the disk; more would be a disk that never catches up


def place(name: str) -> Path | None:
    """Where the pieces of `name` (a run's id) wait; None where this system has no such memory."""
    if not os.access(MEMORY, os.W_OK):
        return None
    return MEMORY / f"robostack-{os.getuid()}" / name


class SpooledFile:
    """Owns a new file at `path` and the thread that writes it; its pieces wait in the folder `memory`.

    The file appears on the disk a moment later. What the disk refuses is raised by the next call, as OSError.
    """

    def __init__(self, path: Path, memory: Path):
        self._path, self._memory = path, memory
        memory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._size = 0  # of everything given
        self._waiting: deque[tuple[Path, bytes]] = deque()
        self._bytes = 0  # of those
        self._changed = threading.Condition()
        self._error: OSError | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"spool of {path.name}", daemon=True)
        self._thread.start()

    def write(self, data: bytes | bytearray) -> None:
        """Safe from the end of this process when it returns; waits for no disk. Raises OSError or Unavailable."""
        if self._error:
            raise self._error
        if self._bytes + len(data) > MOST_BYTES:
            raise Unavailable(
                f"the disk of {self._path} is {self._bytes / 1e6:.0f} MB behind, at most "
                f"{MOST_BYTES / 1e6:.0f} MB may wait; use a faster disk, or record fewer cameras"
            )
        piece = self._memory / f"{self._size:015d}"
        with open(piece, "xb", buffering=0) as file:
            write_all(file, data)
        self._size += len(data)
        with self._changed:
            self._waiting.append((piece, bytes(data)))
            self._bytes += len(data)
            self._changed.notify_all()

    def sync(self) -> None:
        """Returns when everything is on the disk. Raises OSError."""
        with self._changed:
            while self._waiting and not self._error:
                self._changed.wait()
        if self._error:
            raise self._error

    def close(self) -> None:
        """After the last piece, or what the disk takes of it; pieces that it refused stay in memory."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            with open(self._path, "xb", buffering=0) as file:
                while pieces := self._next():
                    write_all(file, b"".join(data for _, data in pieces))
                    os.fdatasync(file.fileno())
                    self._forget(pieces)
            self._memory.rmdir()
        except OSError as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()
            if isinstance(error, FileExistsError):
                # Somebody else's file: nothing may be added to it later.
                shutil.rmtree(self._memory)

    def _next(self) -> list[tuple[Path, bytes]]:
        """All that wait, once there are any; empty when there will be none."""
        with self._changed:
            while not self._waiting and not self._is_closed:
                self._changed.wait()
            return list(self._waiting)

    def _forget(self, pieces: list[tuple[Path, bytes]]) -> None:
        for piece, _ in pieces:
            piece.unlink(missing_ok=True)
        with self._changed:
            for _, data in pieces:
                self._waiting.popleft()
                self._bytes -= len(data)
            self._changed.notify_all()


def recover(folder: Path, memory: Path | None) -> list[str]:
    """Brings pieces that a killed process left to their files in `folder`; names of the files that grew.

    Only while nobody writes there. Raises OSError.
    """
    grown: list[str] = []
    for waiting in sorted(memory.iterdir()) if memory and memory.is_dir() else []:
        with open(folder / waiting.name, "ab", buffering=0) as file:
            for piece in sorted(waiting.iterdir()):
                offset, data, size = int(piece.name), piece.read_bytes(), file.tell()
                if offset > size:
                    break  # what was between is lost: nothing may stand behind a gap
                write_all(file, data[size - offset :])
                grown += [waiting.name] if waiting.name not in grown else []
            os.fsync(file.fileno())
        for piece in waiting.iterdir():
            piece.unlink()
        waiting.rmdir()
    if memory:
        with suppress(OSError):
            memory.rmdir()
    return grown
