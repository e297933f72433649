"""The newest parameters of a folder, read beside the control loop, so that a tick only takes what is ready."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from robostack.core.spec import Spec
from robostack.store import params
from robostack.store.params import Parameters

T = TypeVar("T")
LOOK_S = 0.05  # s between two looks into the folder


class Newest(Generic[T]):
    """Owns a thread that reads each newest version above `after` and makes it `ready`."""

    def __init__(self, folder: Path, spec: Spec, ready: Callable[[Parameters], T], after: int):
        self._folder, self._spec, self._make = folder, spec, ready
        self._version = after
        self._ready: T | None = None
        self._error: Exception | None = None
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="newest parameters", daemon=True)
        self._thread.start()

    def take(self) -> T | None:
        """The newest one, once; None while nothing is newer. Raises the RobostackError of a file that is no good."""
        if self._error:
            raise self._error
        ready, self._ready = self._ready, None
        return ready

    def close(self) -> None:
        """May be called twice."""
        self._is_closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_closed.wait(LOOK_S):
            try:
                version = params.latest_version(self._folder)
                if version > self._version:
                    found = params.load(params.path_of(self._folder, version), self._spec)
                    self._ready, self._version = self._make(found), version
            except Exception as error:  # the loop's to raise: a thread that only ends is not seen
                self._error = error
                return
