"""The learner's end at its disk: episode files grow here byte for byte as they grew at the actor."""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from robostack.core.errors import RobostackError, Unavailable
from robostack.store import reading
from robostack.store.disk import explained, sync_folder, write_all
from robostack.store.episode import CUT
from robostack.store.link.message import Ack, Have, Offer, Piece, Refused, printable

TAIL = 4096  # bytes; a finished file's hold its end record, whose checksum chains over everything before
ROOM = 1 << 20  # bytes that must be free before an actor is let in


class OutOfStep(RobostackError):
    """What came does not continue what is here: both sides compare again from the beginning."""


@dataclass
class _Growing:
    """A file as far as it is known to be good."""

    path: Path
    prefix: reading.Prefix = field(default_factory=reading.Prefix)
    received: int = 0


class Receiver:
    """Owns the episode files of one actor. Its methods may be called from any thread, one at a time gets in."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._growing: dict[str, _Growing] = {}
        self._unsynced: dict[str, _Growing] = {}
        self._refused: set[str] = set()
        self._lock = threading.Lock()

    def have(self, offer: Offer) -> Have:
        """What is here of a file. Raises Unavailable."""
        with self._lock, explained("read", self._folder / offer.episode):
            self._refused.discard(offer.episode)
            path = self._folder / offer.episode
            if offer.tail and _size(path) == offer.size and tail(path) == offer.tail:
                return Have(offer.episode, offer.size, "", True)
            file = self._open(offer.episode)
            compared = digest(path, min(file.received, offer.size))
            return Have(offer.episode, file.received, compared, file.prefix.is_finished)

    def retire(self, episode: str) -> Have:
        """Moves an unfinished file to the folder of cut ones. Raises RobostackError for a finished one."""
        with self._lock, explained("put aside", self._folder / episode):
            file = self._open(episode)
            if file.prefix.is_finished:
                raise RobostackError(f"{file.path} is finished and stays; move it away by hand")
            self._growing.pop(episode)
            if file.path.exists():
                aside = self._folder / CUT
                aside.mkdir(exist_ok=True)
                os.rename(file.path, _free(aside / episode))
                sync_folder(aside)
                sync_folder(self._folder)
            return Have(episode, 0, digest(file.path, 0), False)

    def take(self, pieces: Iterable[Piece]) -> list[Ack | Refused]:
        """Appends and makes durable; only what is durable is acknowledged. Bytes that are here already change nothing.

        Raises OutOfStep for a gap or other bytes than are here, Unavailable when the disk says no; then nothing of
        these pieces is acknowledged and all that was acknowledged before stays.
        """
        with self._lock:
            touched: dict[str, _Growing] = {}
            try:
                refused = list(self._append_all(pieces, touched))
                self._sync()
            except (RobostackError, OSError):
                self._growing.clear()  # what is good is read from the files again
                self._unsynced.clear()
                raise
            found = [
                Ack(name, file.received, file.prefix.size, file.prefix.steps, is_finished)
                for name, file in touched.items()
                for is_finished in [file.prefix.is_finished]
            ]
            for name, file in touched.items():
                if file.prefix.is_finished:
                    del self._growing[name]
            return [*found, *refused]

    def _append_all(
        self, pieces: Iterable[Piece], touched: dict[str, _Growing]
    ) -> Iterator[Refused]:
        for piece in pieces:
            if piece.episode in self._refused:
                continue  # sent before the refusal was heard
            file = self._open(piece.episode)
            if not file.received:
                # A file that follows another tells readers that nothing more comes there: it must be on the disk.
                self._sync()
            with explained("record", file.path):
                self._append(file, piece)
            touched[piece.episode] = self._unsynced[piece.episode] = file
            if file.prefix.error:
                reason = f"it is damaged after step {file.prefix.steps}: {file.prefix.error}"
                os.truncate(file.path, file.prefix.size)
                self._refused.add(piece.episode)
                del self._growing[piece.episode], touched[piece.episode]
                yield Refused(piece.episode, printable(reason))

    def _append(self, file: _Growing, piece: Piece) -> None:
        if piece.offset > file.received:
            raise OutOfStep(
                f"{file.path.name}: got bytes from {piece.offset} on, expected {file.received}"
            )
        known = min(len(piece.data), file.received - piece.offset)
        new = piece.data[known:]
        handle = os.open(file.path, os.O_RDWR | os.O_CREAT, 0o644)
        with open(handle, "r+b", buffering=0) as opened:
            if known and os.pread(handle, known, piece.offset) != piece.data[:known]:
                raise OutOfStep(
                    f"{file.path.name}: bytes {piece.offset} to {piece.offset + known} differ"
                )
            opened.seek(file.received)
            try:
                write_all(opened, new)
            except OSError:
                with suppress(OSError):
                    opened.truncate(file.received)
                raise
        file.received += len(new)
        file.prefix.feed(new)

    def _sync(self) -> None:
        """Brings to the disk what was appended since the last time."""
        for file in self._unsynced.values():
            with explained("record", file.path):
                handle = os.open(file.path, os.O_RDWR)
                try:
                    os.fdatasync(handle)
                finally:
                    os.close(handle)
        if self._unsynced:
            with explained("record in", self._folder):
                sync_folder(self._folder)
        self._unsynced.clear()

    def _open(self, episode: str) -> _Growing:
        """The file's state; read from it once. What a power cut left behind its last whole step is dropped."""
        if found := self._growing.get(episode):
            return found
        file = _Growing(self._folder / episode)
        try:
            data = file.path.read_bytes()
        except FileNotFoundError:
            data = b""
        file.prefix.feed(data)
        if file.prefix.size < len(data):
            os.truncate(file.path, file.prefix.size)
            data, file.prefix = data[: file.prefix.size], reading.Prefix()
            file.prefix.feed(data)
        file.received = len(data)
        self._growing[episode] = file
        return file


def require_room(folder: Path) -> None:
    """Raises Unavailable while the disk is as good as full."""
    with explained("look at the disk of", folder):
        stat = os.statvfs(folder)
    if stat.f_bavail * stat.f_frsize < ROOM:
        raise Unavailable(f"the disk of {folder} is full; make room there")


def digest(path: Path, size: int) -> str:
    """sha256 of a file's first bytes, in hex. Raises OSError."""
    found = hashlib.sha256()
    if size:
        with open(path, "rb") as file:
            while size and (data := file.read(min(size, 1 << 20))):
                found.update(data)
                size -= len(data)
    return found.hexdigest()


def tail(path: Path) -> str:
    """What tells a finished file from all others of its name; "" for an unfinished one. Raises OSError."""
    if not reading.is_finished(path):
        return ""
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - TAIL))
        return hashlib.sha256(file.read()).hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _free(path: Path) -> Path:
    """`path`, or with a number where there is such a file."""
    for number in range(1, 10_000):
        if not path.exists():
            return path
        path = path.with_name(f"{path.name.partition('.')[0]}.{number}.mcap")
    raise Unavailable(f"{path.parent} is full of cut episodes of one name")
