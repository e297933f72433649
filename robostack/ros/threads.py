"""A thread that dies takes its process down: one that works only in part looks alive. Needs no ROS 2."""

import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress

GRACE_S = (
    5.0  # s that the main thread has to end the process in order; stopping a ProcessGroup takes 3
)
_died: list[str] = []


def end_with_any() -> None:
    """From now on the end of a thread by an error ends this process, with a status that is not 0.

    For programs: call it once, first. The main thread gets SIGTERM and ends as it does on that; one that hangs is cut.
    Work in an executor is not a thread's end: its error waits in the future for whoever asked.
    """
    threading.excepthook = _end


def status_of(status: int) -> int:
    """The program's exit status: `status`, but never 0 where a thread died."""
    return status or int(bool(_died))


def _end(what: threading.ExceptHookArgs) -> None:
    if what.exc_type is SystemExit:
        return
    name = what.thread.name if what.thread else "(unknown)"
    frames = traceback.extract_tb(what.exc_traceback)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    said = " ".join(str(what.exc_value).split())
    _died.append(name)
    with suppress(OSError, ValueError):  # nobody may be left to read it
        print(
            f"thread {name} died: {what.exc_type.__name__}: {said}{place}",
            file=sys.stderr,
            flush=True,
        )
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)
