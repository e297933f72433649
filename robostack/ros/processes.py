"""Processes that live and die together: the nodes of a cell. Needs no ROS 2."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from robostack.core import clock
from robostack.core.errors import Unavailable
from robostack.ros.environment import CHECKOUT

STOP_S = 3.0  # s from the first SIGINT until all are gone and their last words are told
LAST_S, WORDS_S = 1.0, 0.2  # s of these for those that stop last, and for the words
GENTLE = 0.7  # part of the time that a process has from SIGINT to SIGTERM; then SIGKILL
YOUNG_S = 0.5  # s in which a process may not listen to signals yet
POLL_S = 0.01

# Children import the same robostack as we, even from a checkout that is installed nowhere.
_PATH = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
_SHARED = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(_PATH)}


def _leashed(command: Sequence[str]) -> list[str]:
    """`command`, which gets SIGTERM when we die, even if we died before it could ask for that.

    By util-linux's setpriv, on every Debian, and not by preexec_fn: that runs Python in a fork of a process in which
    JAX may hold locks.
    """
    if shutil.which("setpriv") is None:
        return list(command)
    asks = ["setpriv", "--pdeathsig", "TERM", "--"]
    return [*asks, "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"', str(os.getpid()), *command]


@dataclass(frozen=True)
class Ended:
    """A process that ended, and how: an exit status, or minus a signal's number."""

    name: str
    status: int

    def __str__(self) -> str:
        if self.status < 0:
            return f"{self.name} was ended by {signal.Signals(-self.status).name}"
        return f"{self.name} exited with status {self.status}"


class ProcessGroup:
    """Owns the processes started through it. Start them from a thread that lives as long as they should:
    on Linux they get SIGTERM when it ends, so a killed parent leaves nothing behind.

    Their output is printed line by line behind `[name]`. Ctrl-C reaches only the parent, which stops them in order.
    """

    def __init__(self, write=None):
        self._write = write or (lambda line: print(line, flush=True))
        self._processes: dict[str, subprocess.Popen] = {}
        self._begun: dict[str, float] = {}  # s, steady clock
        self._last: set[str] = set()
        self._readers: list[threading.Thread] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        stops_last: bool = False,
        nice: int = 0,
    ) -> None:
        """Starts `command` with `environment` added to ours. `stops_last`: the guard, which holds what others leave."""
        if shutil.which(command[0]) is None:
            raise Unavailable(f"cannot start {name}: no program {command[0]}")
        try:
            process = subprocess.Popen(
                _leashed(command),
                env={**os.environ, **_SHARED, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"cannot start {name}: {error}") from error
        if nice:
            with suppress(PermissionError):  # below zero only root may
                os.setpriority(os.PRIO_PROCESS, process.pid, nice)
        self._processes[name], self._begun[name] = process, clock.now()
        if stops_last:
            self._last.add(name)
        reader = threading.Thread(target=self._relay, args=(name, process), daemon=True)
        self._readers.append(reader)
        reader.start()

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def status(self, name: str) -> int | None:
        """Exit status of one process, None while it runs."""
        return self._processes[name].poll()

    def kill(self, name: str) -> None:
        """SIGKILL, for tests of what the others do then."""
        self._processes[name].kill()

    def poll(self) -> Ended | None:
        """The first process that has ended, if any."""
        for name, process in self._processes.items():
            if (status := process.poll()) is not None:
                return Ended(name, status)
        return None

    def stop(self) -> dict[str, int]:
        """Ends all within 3 s, those that stop last after the others; returns their statuses. May be called twice."""
        with _undisturbed():
            end = clock.now() + STOP_S
            others = [name for name in self._processes if name not in self._last]
            self._end(others, end - WORDS_S - (LAST_S if self._last else 0.0))
            self._end(list(self._last), end - WORDS_S)
            for reader in self._readers:
                reader.join(max(0.0, end - clock.now()))
        return {name: process.returncode for name, process in self._processes.items()}

    def _end(self, names: list[str], end: float) -> None:
        """Ends these until `end`, s on the steady clock, the stubborn by force."""
        processes, begun = [self._processes[name] for name in names], clock.now()
        for number, part in ((signal.SIGINT, GENTLE), (signal.SIGTERM, 1.0)):
            for name, process in zip(names, processes, strict=True):
                if process.poll() is None:
                    # Python that is still starting answers SIGINT with a traceback, SIGTERM without a word.
                    is_young = begun - self._begun[name] < YOUNG_S
                    process.send_signal(signal.SIGTERM if is_young else number)
            deadline = begun + part * (end - begun)
            while any(process.poll() is None for process in processes) and clock.now() < deadline:
                clock.sleep(POLL_S)
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _relay(self, name: str, process: subprocess.Popen) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._write(f"[{name}] {line.rstrip()}")

    def __enter__(self) -> "ProcessGroup":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C once more, or `kill`, does not cut an ordered end short: the guard would be left, or go first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
