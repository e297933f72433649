"""What ROS 2 reads from the environment, in one place. Needs no ROS 2 itself."""

import fcntl
import os
import random
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from robostack.core.errors import BadValue, Unavailable

LAST_DOMAIN = 101  # from 102 on, Fast DDS' ports reach into Linux' ephemeral range
PORT_BASE, PORTS_PER_DOMAIN = 7400, 250  # DDS-RTPS 9.6.1.1
MIRROR_LAUNCH = "launch/mirror.launch.xml"
CHECKOUT = Path(__file__).resolve().parents[2]
# For processes beside a learner: on small arrays a thread pool costs more than it gives.
ONE_THREAD = {
    # Beside what the user asks of XLA.
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip(),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_held: list[TextIO] = []  # lock files of the domains that are ours until this process ends


def prepare() -> None:
    """Sets what is not set yet: discovery on this machine only, shared memory large enough for images."""
    defaults = {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "AMENT_PREFIX_PATH": sys.prefix,  # the wheels do not set it, and ament_index needs it
    }
    if profile := share("launch/config/fastdds_local.xml"):
        defaults["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(profile)  # Jazzy
        defaults["FASTDDS_DEFAULT_PROFILES_FILE"] = str(profile)  # Kilted and later
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    domain()


def domain() -> int:
    """The ROS domain of this process, 0 when none is set. Raises BadValue outside 0 to 101."""
    text = os.environ.get("ROS_DOMAIN_ID") or "0"
    if not text.isdecimal() or int(text) > LAST_DOMAIN:
        raise BadValue(
            f'ROS_DOMAIN_ID is "{text}", expected 0 to {LAST_DOMAIN}; above, its ports meet other '
            "programs. Mend it with `export ROS_DOMAIN_ID=0`"
        )
    return int(text)


def prefixes() -> list[Path]:
    """Where robostack may be installed: this interpreter's prefix, then the sourced ones."""
    sourced = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    return [Path(sys.prefix), *(Path(prefix) for prefix in sourced if prefix)]


def share(path: str) -> Path | None:
    """A file of the checkout or of share/robostack, by its path in the repository."""
    places = [CHECKOUT, *(prefix / "share/robostack" for prefix in prefixes())]
    return next((place / path for place in places if (place / path).is_file()), None)


def executable(name: str) -> Path | None:
    """A node of ours: from the checkout's libexec, or from lib/robostack where it is installed."""
    places = [CHECKOUT / "libexec", *(prefix / "lib/robostack" for prefix in prefixes())]
    return next((place / name for place in places if (place / name).is_file()), None)


def mirror_launch_file() -> Path:
    """Starts the mirror of a cell and its guard. Raises Unavailable where it is not installed."""
    if path := share(MIRROR_LAUNCH):
        return path
    raise Unavailable(
        f"{MIRROR_LAUNCH} is not installed; `pip install robostack` puts it into share/robostack"
    )


@contextmanager
def claimed_domain() -> Iterator[int]:
    """A ROS domain that no other cell on this machine uses, ours within the block."""
    number, lock = _claim()
    with lock:
        yield number


def free_domain() -> int:
    """A ROS domain that no other cell on this machine uses; it stays ours until this process ends."""
    number, lock = _claim()
    _held.append(lock)
    return number


def _claim() -> tuple[int, TextIO]:
    """A free domain and its lock file. A lock is held, not written: it frees itself when its process dies."""
    numbers = list(range(1, LAST_DOMAIN + 1))
    random.SystemRandom().shuffle(numbers)  # a node that was left behind is met by chance only
    for number in numbers:
        try:
            lock = (Path(tempfile.gettempdir()) / f"robostack-ros-domain-{number}").open("w")
        except PermissionError:  # another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_quiet(number):
                return number, lock
        except BlockingIOError:
            pass
        lock.close()
    raise Unavailable("all ROS domains from 1 to 101 are in use on this machine; stop a cell first")


def _is_quiet(number: int) -> bool:
    """Whether nobody holds the ports of the domain's first participants."""
    base = PORT_BASE + PORTS_PER_DOMAIN * number
    for port in (base, base + 1, *range(base + 10, base + 18)):  # multicast, then four pairs
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("0.0.0.0", port))  # meets holders of 127.0.0.1 too
            except OSError:
                return False
    return True
