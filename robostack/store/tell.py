"""A small JSON file that tells the outside how things stand, written beside the loop that tells."""

import threading
from pathlib import Path
from typing import Any

from robostack.store.run import write_json


class Teller:
    """Owns a thread that writes the newest value; one that is overtaken is never written.

    What the disk refuses is raised by the next call.
    """

    def __init__(self, path: Path):
        self._path = path
        self._newest: dict[str, Any] | None = None
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._is_closed = False
        self._writing = threading.Lock()  # one at a time, or an older value could come last
        self._thread = threading.Thread(target=self._run, name=f"tells {path.name}", daemon=True)
        self._thread.start()

    def tell(self, value: dict[str, Any]) -> None:
        """Returns at once. `value` must not change any more."""
        if self._error:
            raise self._error
        with self._changed:
            self._newest = value
            self._changed.notify()

    def tell_now(self, value: dict[str, Any]) -> None:
        """Returns when it is on the disk, to outlive a power cut. Raises Unavailable."""
        with self._writing:
            self._newest = None
            write_json(self._path, value)

    def close(self) -> None:
        """After the newest value is written. May be called twice."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._newest is None and not self._is_closed:
                    self._changed.wait()
                if self._newest is None:
                    return
            try:
                with self._writing:
                    value, self._newest = self._newest, None
                    if value is not None:
                        write_json(self._path, value, is_durable=False)
            except Exception as error:  # the loop's to raise
                self._error = error
                return
