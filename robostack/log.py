"""What the processes of a run say: kept in log.txt, and remembered, for the reason why one of them ended."""

import re
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from robostack.store.disk import explained

REMEMBERED = 200  # lines of each process
# What a door prints before it exits, or an exception's line. JAX's tracebacks end in a remark on themselves.
MESSAGE = re.compile(
    r"robostack \w+: |thread \S+ died: |([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception|Interrupt|Exit)\b"
)


class Log:
    """Owns log.txt and the last words of each process. Lines come from several threads: "[actor] …"."""

    def __init__(self, path: Path, show: Callable[[str], None]):
        self.path, self._show = path, show
        self._said: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        with explained("write", path):
            # Unbuffered: nothing waits that a full disk could refuse when it is closed.
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115

    def write(self, line: str) -> None:
        """Remembers, shows, writes. A full disk or closed terminal takes its part only: the reason comes through."""
        name, _, text = line.removeprefix("[").partition("] ")
        self._said[name].append(text)
        with suppress(OSError):
            self._show(line)
        self.keep(line)

    def keep(self, line: str) -> None:
        """Only writes it: the terminal is told in another way."""
        with suppress(OSError):
            self._file.write(f"{line}\n".encode())

    def reason(self, name: str) -> str:
        """Why a process ended, in its words: its last line that is a message; "" where it said nothing."""
        said = [text for text in list(self._said[name]) if text.strip()]
        messages = [text for text in said if MESSAGE.match(text) or text.startswith(f"{name}: ")]
        return (messages or said or [""])[-1].strip()

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
