"""The actor's end at its disk: which bytes of which episode file come next. The disk is the only spool."""

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from robostack.core import clock
from robostack.core.errors import RobostackError
from robostack.store.episode import episode_paths
from robostack.store.link import message as m
from robostack.store.link.receiver import digest, tail

OFFERS = 64  # asked about and not answered yet
RELIST_S = (
    1.0  # s; two files made within one tick of the file system's clock show only one new time
)


@dataclass
class Outgoing:
    """One file on its way."""

    path: Path
    inode: int = 0
    size: int = 0  # bytes here
    offered: int = 0  # bytes here when we asked
    sent: int = 0
    received: int = 0  # at the learner
    is_answered: bool = False  # the learner has said what it has

    @property
    def episode(self) -> str:
        return self.path.name


class Outbox:
    """Owns what is known of a run's episode files during one connection. Files go in their order.

    A file's last byte is sent before the next file's first: readers take a file that is followed by another as over.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._listed: set[str] = set()
        self._stamp, self._looked = -1, -float("inf")
        self._new: deque[Outgoing] = deque()
        self._open: dict[str, Outgoing] = {}  # offered and not settled, in order

    @property
    def behind(self) -> int:
        """Bytes that are here and not at the learner yet, new files not counted until it is asked about them."""
        return sum(max(0, file.size - file.received) for file in self._open.values())

    @property
    def is_even(self) -> bool:
        """The learner has every byte that was here at the last look."""
        waiting = any(not file.is_answered for file in self._open.values())
        return not self._new and not waiting and not self.behind

    def look(self) -> None:
        """Finds new files and new bytes. Costs two system calls, and one for each file that still grows."""
        try:
            stamp = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return
        now = clock.now()
        if stamp != self._stamp or now - self._looked > RELIST_S:
            self._stamp, self._looked = stamp, now
            for path in episode_paths(self._folder):
                if path.name not in self._listed:
                    self._listed.add(path.name)
                    self._new.append(Outgoing(path))
        for file in list(self._open.values()):
            self._grow(file)

    def offer(self) -> m.Offer | None:
        """The next file to ask about, if any."""
        if not self._new or len([f for f in self._open.values() if not f.is_answered]) >= OFFERS:
            return None
        file = self._new.popleft()
        try:
            stat = file.path.stat()
            file.inode, file.size, file.offered = stat.st_ino, stat.st_size, stat.st_size
            offered = m.Offer(file.episode, file.size, tail(file.path))
        except FileNotFoundError:  # put aside by the actor, and listed again when it plays it again
            self._listed.discard(file.episode)
            return None
        self._open[file.episode] = file
        return offered

    def answered(self, have: m.Have) -> m.Retire | None:
        """Takes the learner's answer. Raises RobostackError for a file that can never arrive."""
        file = self._open.get(have.episode)
        if file is None:
            return None
        if have.is_finished and not have.digest:
            del self._open[have.episode]  # there, to the last byte
            return None
        compared = min(have.received, file.offered)
        try:
            is_same = digest(file.path, compared) == have.digest
        except FileNotFoundError:
            self._forget(file)
            return None
        if not is_same and have.is_finished:
            self.refused(have.episode)
            raise RobostackError(
                f"{file.path} differs from the finished file of this name at the learner; "
                "move one of them away"
            )
        if not is_same:
            return m.Retire(have.episode)
        file.sent = file.received = compared
        file.is_answered = True
        if have.is_finished and have.received == file.size:
            del self._open[have.episode]
        return None

    def acknowledged(self, ack: m.Ack) -> None:
        """Takes an acknowledgement. A file that is there to the last byte is not looked at again."""
        if file := self._open.get(ack.episode):
            file.received = ack.received
            if ack.is_finished and ack.received >= file.size:
                del self._open[ack.episode]

    def refused(self, episode: str) -> None:
        """Nothing more of this file is sent on this connection."""
        self._open.pop(episode, None)

    def piece(self, most: int) -> m.Piece | None:
        """The next bytes, at most `most`, if there are any."""
        for file in self._open.values():
            if not file.is_answered:
                return None
            if file.sent < file.size:
                data = _read(file.path, file.sent, min(most, file.size - file.sent))
                if not data:
                    self._forget(file)
                    return None
                file.sent += len(data)
                return m.Piece(file.episode, file.sent - len(data), data)
        return None

    def _grow(self, file: Outgoing) -> None:
        try:
            stat = file.path.stat()
        except FileNotFoundError:
            self._forget(file)
            return
        if stat.st_ino != file.inode or stat.st_size < file.size:
            self._forget(file)  # cut, put aside and played again under the same name
        file.size = stat.st_size

    def _forget(self, file: Outgoing) -> None:
        """The file is another one now, or gone; if it is there, it is offered again."""
        self._open.pop(file.episode, None)
        self._listed.discard(file.episode)
        self._looked = -float("inf")


def _read(path: Path, offset: int, count: int) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(handle, count, offset)
    finally:
        os.close(handle)
