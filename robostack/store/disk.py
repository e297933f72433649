"""Files that are whole or not there, and disk errors that say what to do."""

import errno
import os
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


class PlainFile:
    """Owns a new file. What was written is with the system, so no end of this process loses it. Raises OSError."""

    def __init__(self, path: Path):
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115 - closed by close()

    def write(self, data: bytes | bytearray) -> None:
        write_all(self._file, data)

    def sync(self) -> None:
        """Returns when everything is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
