"""What `train` makes of its processes' words, and of a disk that fills up while they run."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from robostack.core import clock
from robostack.store.episode import episode_paths
from robostack.train import Log

FULL = Path("/dev/full")  # every write to it says that there is no room
MB = 2**20

JAX_TAIL = """\
Traceback (most recent call last):
  File "/x/robostack/learn/learner.py", line 42, in train
    raise ValueError("bad")
jaxlib._jax.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory
--------------------
For simplicity, JAX has removed its internal frames from the traceback of the following exception."""


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("robostack act: cannot record x: no space\nterminating", "robostack act: cannot record x"),
        (JAX_TAIL, "jaxlib._jax.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory"),
        ("robostack act: first\nrobostack act: second\n\n", "robostack act: second"),
        ("actor: the guard has gone\nException ignored in: x\n", "actor: the guard has gone"),
        ("an error without a name\nfree(): invalid pointer", "free(): invalid pointer"),
        ("", ""),
    ],
)
def test_reason_is_the_last_line_that_is_a_message(tmp_path, said, reason):
    with Log(tmp_path / "log.txt", show=lambda line: None) as log:
        for line in said.splitlines():
            log.write(f"[actor] {line}")
        log.write("[learner] ValueError: another process's")
        assert log.reason("actor").startswith(reason) and bool(log.reason("actor")) == bool(reason)


def test_every_line_is_shown_and_kept(tmp_path):
    shown = []
    with Log(tmp_path / "log.txt", shown.append) as log:
        log.write("[actor] é 1")
        log.write("[mirror] mirror: ready")
    assert shown == ["[actor] é 1", "[mirror] mirror: ready"]
    assert (tmp_path / "log.txt").read_text() == "[actor] é 1\n[mirror] mirror: ready\n"


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_full_disk_takes_the_log_but_not_the_reason():
    shown = []
    with Log(FULL, shown.append) as log:
        log.write("[actor] robostack act: cannot record x: no space left on device")
    assert len(shown) == 1 and "no space left" in log.reason("actor")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={230 * MB}", "robostack-test", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    with open(folder / "filler", "wb", buffering=0) as file:
        for size in (MB, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def test_disk_that_fills_up_ends_a_run_with_one_line_that_says_so(small_disk):
    command = [sys.executable, "-m", "robostack", "train", "--task", "reach", "--no-film"]
    command += ["--runs", str(small_disk / "runs"), "--set", "plant=twin"]
    command += ["--set", "learner.widths=[16,16]", "--set", "learner.batch=16"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    try:
        deadline = clock.now() + 60
        while not any(episode_paths(path) for path in small_disk.glob("runs/*/episodes")):
            assert process.poll() is None and clock.now() < deadline
            clock.sleep(0.05)
        fill(small_disk)
        out, err = process.communicate(timeout=40)
    finally:
        process.kill()  # its children end with it
    assert process.returncode == 2, out + err
    assert err.count("\n") == 1 and "no space left on device; make room" in err
    assert "robostack act: " in err or "robostack learn: " in err
    assert "Traceback" not in out and "started again" not in out, "trying again does not make room"

    (small_disk / "filler").unlink()
    (run,) = (small_disk / "runs").iterdir()
    assert f"go on with `robostack train --resume {run}`" in err
    count = len(episode_paths(run / "episodes"))
    words = [sys.executable, "-m", "robostack", "train", "--no-film", "--resume", str(run)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        deadline = clock.now() + 60
        while len(episode_paths(run / "episodes")) < count + 2:
            assert process.poll() is None and clock.now() < deadline
            clock.sleep(0.05)
    finally:
        process.terminate()
        process.wait(20)
