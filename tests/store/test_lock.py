"""A folder's lock: whose it is can be told, and it ends with the last process that holds it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robostack.core import clock
from robostack.core.errors import Unavailable
from robostack.store import lock

ROOT = Path(__file__).parents[2]
HOLD = """
import subprocess, sys, time
from pathlib import Path
from robostack.store.lock import held
with held(Path(sys.argv[1])) as file:
    if sys.argv[2] != "0":
        subprocess.Popen(["sleep", sys.argv[2]], pass_fds=[file], stdout=subprocess.DEVNULL)
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path, child_s: float = 0) -> subprocess.Popen:
    """A process that holds the lock, and one it leaves behind for `child_s`."""
    command = [sys.executable, "-c", HOLD, str(path), str(child_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def kill(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


def test_second_one_is_told_whose_it_is_at_once_and_a_killed_owner_frees_it(tmp_path):
    owner, path = holder(tmp_path / "lock"), tmp_path / "lock"
    try:
        begun = clock.now()
        with (
            pytest.raises(Unavailable, match=f"being worked on by process {owner.pid};"),
            lock.held(path),
        ):
            pass
        assert clock.now() - begun < 1.0
    finally:
        kill(owner)
    with lock.held(path):
        assert path.read_text() == f"{os.getpid()}\n"
    with lock.held(path):
        pass


def test_what_a_killed_owner_left_behind_is_waited_for(tmp_path):
    kill(holder(tmp_path / "lock", child_s=1.5))
    begun = clock.now()
    with lock.held(tmp_path / "lock"):
        assert clock.now() - begun > 0.5


def test_what_was_left_behind_and_does_not_end_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "ENDING_S", 0.3)
    kill(holder(tmp_path / "lock", child_s=20))
    with (
        pytest.raises(Unavailable, match=r"by process \d+;") as caught,
        lock.held(tmp_path / "lock"),
    ):
        pass
    pid = int(str(caught.value).split("by process ")[1].split(";")[0])
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    os.kill(pid, 9)


def test_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(Unavailable, match="cannot lock"), lock.held(tmp_path / "no" / "lock"):
        pass


def test_lock_holds_on_a_disk_that_takes_no_name(tmp_path, monkeypatch):
    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with lock.held(tmp_path / "lock"):
        monkeypatch.setattr(lock, "ENDING_S", 0.1)
        with pytest.raises(Unavailable, match="being worked on"), lock.held(tmp_path / "lock"):
            pass
