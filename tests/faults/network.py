"""Two machines on one: network namespaces joined by a cable whose delay, loss and rate can be set, and that can be cut.

The cable is ours: it carries packets between two TUN devices. Many kernels have no `tc netem`, and it needs no more
rights than that.
"""

import fcntl
import heapq
import os
import select
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import pytest

from robostack.core import clock

_NUMBERS = count()
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_MTU = 1500


@dataclass(frozen=True)
class Rules:
    """What the cable does to each packet, in both directions."""

    delay: float = 0.0  # s
    jitter: float = (
        0.0  # s, uniform around the delay; packets stay in order, as in a router's queue
    )
    loss: float = 0.0  # share
    rate: float = 0.0  # bits/s; 0 for no limit
    queue: int = 100  # packets that wait for their turn; more are lost


class Network:
    """Owns two namespaces, `near` and `far`, with addresses of their own, and the thread that carries their packets."""

    def __init__(self):
        number = next(_NUMBERS)
        self.near, self.far = (f"rs{os.getpid()}-{number}{end}" for end in "nf")
        subnet = f"10.{os.getpid() % 200 + 20}.{number % 250}"
        self.near_address, self.far_address = f"{subnet}.1", f"{subnet}.2"
        self._rules, self._rng = Rules(), np.random.default_rng(0)
        self._devices: list[int] = []
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="cable", daemon=True)
        try:
            for name, own, other in (
                (self.near, self.near_address, self.far_address),
                (self.far, self.far_address, self.near_address),
            ):
                _run("ip", "netns", "add", name)
                end = f"t{os.getpid() % 10**6}-{number}{name[-1]}"  # 15 characters at most
                self._devices.append(_device(end))
                _run("ip", "link", "set", end, "netns", name)
                _run("ip", "-n", name, "addr", "add", own, "peer", other, "dev", end)
                _run("ip", "-n", name, "link", "set", end, "mtu", str(_MTU), "up")
                _run("ip", "-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise
        self._thread.start()

    def shape(self, **rules: float) -> None:
        """The cable's rules from now on; none for a clean one."""
        self._rules = replace(Rules(), **rules)

    def cut(self) -> None:
        """The cable is pulled: packets vanish, and nobody is told."""
        self.shape(loss=1.0)

    def inside(self, name: str) -> tuple[str, ...]:
        """What goes before a command to run it at one end."""
        return ("ip", "netns", "exec", name)

    def close(self) -> None:
        """Takes both down, with the cable. May be called twice."""
        with suppress(OSError):
            os.close(self._waker)
        if self._thread.ident:
            self._thread.join()
        for device in self._devices:
            os.close(device)
        self._devices = []
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def _carry(self) -> None:
        """Until our end of the pipe is closed."""
        near, far = self._devices
        waiting: list[tuple[float, int, int, bytes]] = []  # (when due, order, to whom, packet)
        free_at, last, queued, order = {near: 0.0, far: 0.0}, {near: 0.0, far: 0.0}, {}, count()
        while True:
            rest = max(0.0, waiting[0][0] - clock.now()) if waiting else None
            ready, _, _ = select.select([near, far, self._wake], [], [], rest)
            if self._wake in ready:
                os.close(self._wake)
                return
            now, rules = clock.now(), self._rules
            for device in ready:
                packet, to = os.read(device, 65536), far if device == near else near
                if self._rng.random() < rules.loss or queued.get(to, 0) >= rules.queue:
                    continue
                due = now
                if rules.rate:
                    free_at[to] = due = max(now, free_at[to]) + len(packet) * 8 / rules.rate
                due += rules.delay + rules.jitter * self._rng.uniform(-1, 1)
                last[to] = due = max(due, last[to] if rules.delay else now)
                queued[to] = queued.get(to, 0) + 1
                heapq.heappush(waiting, (due, next(order), to, packet))
            while waiting and waiting[0][0] <= clock.now():
                _, _, to, packet = heapq.heappop(waiting)
                queued[to] -= 1
                with suppress(OSError):  # the namespace is going
                    os.write(to, packet)


def _device(name: str) -> int:
    handle = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(handle)
        raise
    return handle


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextmanager
def network() -> Iterator[Network]:
    """Skips the test where this machine does not allow it, and says what is missing."""
    if shutil.which("ip") is None:
        pytest.skip("no `ip` here: apt-get install iproute2")
    if os.geteuid():
        pytest.skip("network namespaces need root")
    try:
        made = Network()
    except OSError as error:
        pytest.skip(f"this machine does not let us make networks: {error}")
    try:
        yield made
    finally:
        made.close()


@contextmanager
def small_disk(folder: os.PathLike[str] | str, size: str = "8m") -> Iterator[None]:
    """A disk of its own at `folder`; skips the test where mounting is not allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine does not let us mount a small disk: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)
