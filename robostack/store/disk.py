"""Files that are whole or not there, and disk errors that say what to do."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from robostack.core.errors import Unavailable

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def explained(what: str, path: Path) -> Iterator[None]:
    """Turns an OSError inside into Unavailable: what could not be done, where, and the way out."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"cannot {what} {path}: {_way_out(error)}") from error


def _way_out(error: OSError) -> str:
    said = (error.strerror or str(error)).lower()
    if error.errno in _NO_ROOM:
        return f"{said}; make room there, or choose a folder on another disk"
    if error.errno in _NO_PERMISSION:
        return f"{said}; choose a folder you may write to, or change its owner"
    if error.errno == errno.EEXIST:
        return f"{said}; nothing is overwritten, choose another name or move it away"
    return said


def write_whole(path: Path, data: bytes, is_durable: bool = True) -> None:
    """Writes a file that no reader ever sees half of, not even after a power cut. Replaces an older one.

    Not `is_durable`: without waiting for the disk; a power cut may bring back an older one.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")  # hidden: no reader lists it
    with explained("write", path):
        try:
            with open(draft, "wb") as file:
                file.write(data)
                if is_durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(draft, path)
            if is_durable:
                sync_folder(path.parent)
        except OSError:
            with suppress(OSError):
                draft.unlink()
            raise


def forget_drafts(folder: Path, names: str = "*") -> None:
    """Removes what a killed `write_whole` left behind. Only for whoever alone writes files of these names."""
    for draft in folder.glob(f".{names}.*"):
        with suppress(OSError):
            draft.unlink()


def write_all(file: FileIO, data: bytes | bytearray) -> None:
    """Writes all of `data`: on a full disk the system takes a part first and complains later. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def sync_folder(folder: Path) -> None:
    """Makes new names in a folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Syncer:
    """Owns a thread that brings a growing file to the disk, so that whoever writes never waits for it.

    Steps that come while the disk works go with the next turn. What the disk refuses is raised at the next `ask`.
    """

    def __init__(self, handle: int):
        self._handle, self._error = handle, None
        self._is_asked, self._is_closed = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="disk sync", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Returns at once. Raises the OSError of an earlier turn."""
        if self._error:
            raise self._error
        self._is_asked.set()

    def close(self) -> None:
        """After the turn that is running."""
        self._is_closed = True
        self._is_asked.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_closed:
            self._is_asked.wait()
            self._is_asked.clear()
            try:
                os.fdatasync(self._handle)
            except OSError as error:
                self._error = error
                return
