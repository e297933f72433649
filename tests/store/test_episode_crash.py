"""Episode files when something goes wrong: cut, damaged, killed, no room."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.writer import MCAP0_MAGIC

from robostack.core.errors import RobostackError
from robostack.core.types import Episode
from robostack.store.episode import EpisodeWriter, episode_paths, recover

# Writes steps until it is stopped, and says after each how many are written; the disk's complaint is the last line.
WRITER = """
import sys
from pathlib import Path
import numpy as np
from robostack.core.errors import Unavailable
from robostack.core.spec import Spec, Term
from robostack.core.types import EpisodeHeader, Step, Who
from robostack.store.episode import EpisodeWriter
if len(sys.argv) > 2:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
spec = Spec((Term("x", 3, "m", "base", (1.0,) * 3),), (Term("u", 2, "m", "tool", (1.0,) * 2),), 0.1)
writer = EpisodeWriter(Path(sys.argv[1]), spec)
writer.begin(EpisodeHeader(0, "practice", "", "", "", 0, spec.digest, ""), np.zeros(3))
try:
    for i in range(100000):
        step = Step(np.full(3, i), np.ones(2), np.ones(2), Who.POLICY, 0.0, False, False, 0, 0.1 * i, 0.0, 0.0)
        writer.append(step, np.full(3, i + 1))
        print(i + 1, flush=True)
except Unavailable as error:
    print(error, flush=True)
    writer.end()
"""


def grow(folder: Path, spec, episode: Episode) -> tuple[Path, list[int]]:
    """A complete file, and its size after each step."""
    writer = EpisodeWriter(folder, spec)
    writer.begin(episode.header, episode.observations[0])
    [path] = episode_paths(folder)
    sizes = []
    for step, after in zip(episode.steps, episode.observations[1:], strict=True):
        writer.append(step, after)
        sizes.append(path.stat().st_size)
    writer.end()
    return path, sizes


def assert_start_of(got: Episode, whole: Episode) -> None:
    count = len(got.steps)
    assert got.header == whole.header
    assert got.observations.tobytes() == whole.observations[: count + 1].tobytes()
    for ours, theirs in zip(got.steps, whole.steps, strict=False):
        np.testing.assert_array_equal(ours.action, theirs.action)
        assert (ours.reward, ours.terminated, ours.stamp) == (
            theirs.reward,
            theirs.terminated,
            theirs.stamp,
        )


def test_a_file_cut_at_any_byte_gives_exactly_its_whole_steps(tmp_path, spec, make_episode):
    episode = make_episode(length=3)
    path, sizes = grow(tmp_path, spec, episode)
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        whole = sum(size <= length for size in sizes)
        try:
            found = recover(path, spec)
        except RobostackError:
            assert whole == 0, f"cut at byte {length}"
            continue
        assert len(found.episode.steps) == whole, f"cut at byte {length}"
        assert_start_of(found.episode, episode)


def test_a_damaged_byte_ends_the_file_at_the_last_step_before_it(tmp_path, spec, make_episode):
    episode = make_episode(length=3)
    path, sizes = grow(tmp_path, spec, episode)
    data = path.read_bytes()
    with open(path, "r+b", buffering=0) as file:
        for place in range(len(data)):
            for bits in (0x01, 0x80):
                os.pwrite(file.fileno(), bytes([data[place] ^ bits]), place)
                try:
                    found = recover(path, spec)
                except RobostackError:
                    assert place < sizes[0], f"byte {place}"
                    continue
                whole = sum(size <= place for size in sizes)
                assert len(found.episode.steps) >= whole, f"byte {place}"
                assert_start_of(found.episode, episode)
            os.pwrite(file.fileno(), data[place : place + 1], place)


def test_a_tail_of_zeros_after_a_power_cut_is_ignored(tmp_path, spec, make_episode):
    path, sizes = grow(tmp_path, spec, make_episode(length=3))
    path.write_bytes(path.read_bytes()[: sizes[1] + 5].ljust(8192, b"\0"))
    assert len(recover(path, spec).episode.steps) == 2


@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_one_clear_error(tmp_path_factory, data, has_magic):
    path = tmp_path_factory.mktemp("garbage") / "000000-practice.mcap"
    path.write_bytes(MCAP0_MAGIC * has_magic + data)
    with pytest.raises(RobostackError) as caught:
        recover(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_kill_9_loses_at_most_the_step_in_flight(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    while child.stdout.readline() != "50\n":
        assert child.poll() is None
    time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    said = int(child.stdout.read().split("\n")[-2])
    child.wait()
    found = recover(episode_paths(tmp_path)[0])
    assert said <= len(found.episode.steps) <= said + 1
    assert not found.is_complete
    np.testing.assert_array_equal(
        found.episode.observations[:, 0], np.arange(len(found.episode.steps) + 1)
    )


def run_out_of_room(command: list[str], folder: Path) -> str:
    """The complaint of the writer, when all it had told before it is readable."""
    child = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert child.returncode == 0, child.stderr
    *counts, complaint = child.stdout.splitlines()
    [path] = episode_paths(folder)
    found = recover(path)
    assert len(found.episode.steps) == len(counts) > 0
    assert not found.is_complete
    assert str(path) in complaint
    return complaint


def test_a_file_too_large_is_one_clear_line(tmp_path):
    complaint = run_out_of_room([sys.executable, "-c", WRITER, str(tmp_path), "20000"], tmp_path)
    assert "file too large; make room there, or choose a folder on another disk" in complaint


def test_a_full_disk_is_one_clear_line(tmp_path):
    if not shutil.which("unshare"):
        pytest.skip("needs unshare for a small disk of its own")
    small = "mount -t tmpfs -o size=64k none {0} && {1} -c '{2}' {0} && cp -r {0}/. {3}"
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    copy.mkdir()
    probe = ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs none {disk}"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let a user mount a disk of their own")
    script = small.format(disk, sys.executable, WRITER, copy)
    child = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr
    *counts, complaint = child.stdout.splitlines()
    assert (
        "no space left on device; make room there, or choose a folder on another disk" in complaint
    )
    assert len(recover(episode_paths(copy)[0]).episode.steps) == len(counts) > 0
