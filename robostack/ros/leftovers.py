"""Shared memory that killed processes leave behind. Needs no ROS 2.

Fast DDS takes a segment for each process and removes it only in an orderly end. A hundred kills with room for pictures
fill gigabytes of /dev/shm, in which steps wait for the disk too.
"""

import fcntl
import re
import time
from contextlib import suppress
from pathlib import Path

MEMORY = Path("/dev/shm")
YOUNG_S = 60.0  # younger ones are left alone: their owner may not have locked them yet
_LOCK = re.compile(r"(fastrtps_[0-9a-f]{16})_el")


def sweep(memory: Path = MEMORY) -> list[str]:
    """Removes the segments that nobody holds any more; their names. An owner's lock goes with its process."""
    gone: list[str] = []
    names = (_LOCK.fullmatch(path.name) for path in memory.iterdir()) if memory.is_dir() else ()
    for match in filter(None, names):
        # Somebody else's, or gone meanwhile: not ours to remove.
        with suppress(OSError):
            if _is_forsaken(memory / match[0]):
                (memory / match[1]).unlink(missing_ok=True)
                (memory / match[0]).unlink(missing_ok=True)
                gone.append(match[1])
    return gone


def _is_forsaken(lock: Path) -> bool:
    if time.time() - lock.stat().st_mtime < YOUNG_S:  # as the file system counts
        return False
    with open(lock, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
