"""Processes that live and die together: the nodes of a cell. Needs no ROS 2."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from robostack.core import clock
from robostack.core.errors import Unavailable
from robostack.ros.environment import CHECKOUT
from robostack.store.pulse import VARIABLE, Patience, Pulse

STOP_S = 3.0  # s from the first SIGINT until all are gone and their last words are told
LAST_S, WORDS_S = 1.0, 0.2  # s of these for those that stop last, and for the words
GENTLE = 0.7  # part of the time that a process has from SIGINT to SIGTERM; then SIGKILL
YOUNG_S = 0.5  # s in which a process may not listen to signals yet
POLL_S = 0.01
MISTAKE = 2  # exit status of a mistake that only the user can mend: a bad config, a full disk
PAUSES_S = (1.0, 5.0, 20.0)  # s before a process is started again, so often at most
WINDOW_S = 600.0  # s within which starts count together
NODE = Patience(
    first=60.0, later=15.0
)  # of our own nodes: they import, then their loop turns at 10 Hz or more

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
    """A process that ended, and how: an exit status, or minus a signal's number; the silence, s, it was ended for."""

    name: str
    status: int
    silence: float = 0.0

    def __str__(self) -> str:
        if self.silence:
            return f"{self.name} gave no sign of life for {self.silence:.0f} s and was ended"
        if self.status < 0:
            return f"{self.name} was ended by {signal.Signals(-self.status).name}"
        return f"{self.name} exited with status {self.status}"


@dataclass
class _Child:
    """A process, and all that it takes to start it again."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    nice: int
    patience: Patience | None
    may_restart: bool
    process: subprocess.Popen = field(init=False)
    begun: float = 0.0  # s, steady clock
    pulse: Pulse | None = None
    silence: float = 0.0  # s, of a process that was ended for it
    restarts: list[float] = field(default_factory=list)  # s, steady clock, the newest ones
    due: float | None = None  # s, steady clock, of a start that was put off

    def end_if_silent(self) -> None:
        if self.pulse and (silence := self.pulse.overdue()):
            self.silence = silence
            self.process.kill()  # it would not hear anything gentler
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(1.0)

    @property
    def ended(self) -> Ended | None:
        status = self.process.poll()
        return None if status is None else Ended(self.name, status, self.silence)


class ProcessGroup:
    """Owns the processes started through it. Start them from a thread that lives as long as they should:
    on Linux they get SIGTERM when it ends, so a killed parent leaves nothing behind.

    Their output is printed line by line behind `[name]`. Ctrl-C reaches only the parent, which stops them in order.
    `held`: descriptors that all of them inherit, such as a lock's.
    """

    def __init__(self, write=None, held: Sequence[int] = ()):
        # In one piece: two children may speak at once.
        self._write = write or (lambda line: print(f"{line}\n", end="", flush=True))
        self._held = tuple(held)
        self._children: dict[str, _Child] = {}
        self._last: set[str] = set()
        self._readers: list[threading.Thread] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        stops_last: bool = False,
        nice: int = 0,
        patience: Patience | None = None,
        may_restart: bool = False,
    ) -> None:
        """Starts `command` with `environment` added to ours. `stops_last`: the guard, which holds what others leave.

        `patience`: how silent it may be, for programs that beat (store.pulse). `may_restart`: poll() starts it again.
        """
        if shutil.which(command[0]) is None:
            raise Unavailable(f"cannot start {name}: no program {command[0]}")
        child = _Child(name, command, environment or {}, nice, patience, may_restart)
        self._launch(child)
        self._children[name] = child
        if stops_last:
            self._last.add(name)

    def _launch(self, child: _Child) -> None:
        if child.pulse:
            child.pulse.close()
        pulse = child.pulse = Pulse(child.patience) if child.patience else None
        try:
            child.process = subprocess.Popen(
                _leashed(child.command),
                env={
                    **os.environ,
                    **_SHARED,
                    **child.environment,
                    **(pulse.variable if pulse else {VARIABLE: ""}),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                pass_fds=[*self._held, *([pulse.out] if pulse else [])],
            )
        except OSError as error:
            raise Unavailable(f"cannot start {child.name}: {error}") from error
        finally:
            if pulse:
                pulse.release()
        if child.nice:
            with suppress(PermissionError):  # below zero only root may
                os.setpriority(os.PRIO_PROCESS, child.process.pid, child.nice)
        child.begun, child.silence, child.due = clock.now(), 0.0, None
        reader = threading.Thread(
            target=self._relay,
            args=(child.name, child.process),
            name=f"words-of-{child.name}",
            daemon=True,
        )
        self._readers.append(reader)
        reader.start()

    def pid(self, name: str) -> int:
        return self._children[name].process.pid

    def status(self, name: str) -> int | None:
        """Exit status of one process, None while it runs."""
        return self._children[name].process.poll()

    def kill(self, name: str) -> None:
        """SIGKILL, for tests of what the others do then."""
        self._children[name].process.kill()

    def poll(self) -> Ended | None:
        """The first process that has ended for good, if any. Call it often.

        Whoever is silent for too long is ended here, and whoever may be started again is: three times in ten minutes,
        after a pause. A mistake of the user (status 2) stays one however often it is tried.
        """
        for child in self._children.values():
            if child.due is not None:
                if clock.now() >= child.due:
                    self._launch(child)
                continue
            child.end_if_silent()
            if (ended := child.ended) and not self._is_put_off(child, ended):
                return ended
        return None

    def _is_put_off(self, child: _Child, ended: Ended) -> bool:
        """Whether the process will be started again, which is told."""
        now = clock.now()
        child.restarts = [at for at in child.restarts if now - at < WINDOW_S]
        tries = len(child.restarts)
        if not child.may_restart or ended.status == MISTAKE or tries == len(PAUSES_S):
            return False
        child.restarts.append(now)
        child.due = now + PAUSES_S[tries]
        self._write(
            f"[supervisor] {ended}; it is started again in {PAUSES_S[tries]:g} s "
            f"({tries + 1} of {len(PAUSES_S)} in {WINDOW_S / 60:.0f} minutes)"
        )
        return True

    def stop(self) -> dict[str, int]:
        """Ends all within 3 s, those that stop last after the others; returns their statuses. May be called twice."""
        with _undisturbed():
            end = clock.now() + STOP_S
            others = [name for name in self._children if name not in self._last]
            self._end(others, end - WORDS_S - (LAST_S if self._last else 0.0))
            self._end(list(self._last), end - WORDS_S)
            for reader in self._readers:
                reader.join(max(0.0, end - clock.now()))
            for child in self._children.values():
                if child.pulse:
                    child.pulse.close()
                    child.pulse = None
        return {name: child.process.returncode for name, child in self._children.items()}

    def _end(self, names: list[str], end: float) -> None:
        """Ends these until `end`, s on the steady clock, the stubborn by force."""
        children, begun = [self._children[name] for name in names], clock.now()
        processes = [child.process for child in children]
        for number, part in ((signal.SIGINT, GENTLE), (signal.SIGTERM, 1.0)):
            for child in children:
                if child.process.poll() is None:
                    # Python that is still starting answers SIGINT with a traceback, SIGTERM without a word.
                    is_young = begun - child.begun < YOUNG_S
                    child.process.send_signal(signal.SIGTERM if is_young else number)
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
