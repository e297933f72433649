"""Shared memory of killed processes is given back; that of living ones is not touched."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from robostack.ros import leftovers

NODE = """
import time
from robostack.ros import runtime
session = runtime.Session("victim")
print("ready", flush=True)
time.sleep(60)
"""


def made(folder, number: int, age: float = 3600.0):
    name = f"fastrtps_{number:016x}"
    (folder / name).write_bytes(b"x" * 100)
    lock = folder / f"{name}_el"
    lock.touch()
    os.utime(lock, (lock.stat().st_mtime - age,) * 2)
    return name


def test_segments_that_nobody_holds_are_removed_and_others_are_not(tmp_path):
    dead, held, young = made(tmp_path, 1), made(tmp_path, 2), made(tmp_path, 3, age=1.0)
    (tmp_path / "fastrtps_port7411_el").touch()
    (tmp_path / "somebody_elses").touch()
    with open(tmp_path / f"{held}_el", "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert leftovers.sweep(tmp_path) == [dead]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        held,
        f"{held}_el",
        young,
        f"{young}_el",
        "fastrtps_port7411_el",
        "somebody_elses",
    }
    assert leftovers.sweep(tmp_path) == [held]


def test_a_system_without_such_memory_has_no_leftovers(tmp_path):
    assert leftovers.sweep(tmp_path / "none") == []


@pytest.mark.ros
def test_a_killed_nodes_segment_is_found_dead_and_a_living_ones_is_kept(monkeypatch):
    monkeypatch.setattr(leftovers, "YOUNG_S", -1.0)
    words = [sys.executable, "-c", NODE]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        leftovers.sweep()
        mine = held_by(child.pid)
        assert mine, "Fast DDS took no shared memory"
        assert all((leftovers.MEMORY / name).exists() for name in mine)
        child.send_signal(signal.SIGKILL)
    swept = leftovers.sweep()
    assert mine <= {f"{name}_el" for name in swept}


def held_by(pid: int) -> set[str]:
    """Names of the segment locks that a process has open."""
    found = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        name = os.path.basename(os.readlink(entry.path))
        if leftovers._LOCK.fullmatch(name):
            found.add(name)
    return found
