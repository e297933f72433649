"""Steps on their way to a disk that is slow, full or gone: the loop does not wait, and a kill loses none."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import RobostackError, Unavailable
from robostack.store import spool
from robostack.store.episode import EpisodeWriter, episode_paths, recover
from robostack.store.spool import SpooledFile

# Writes steps as fast as it can to a disk that takes 0.5 s for each sync, and says after each that it is written.
WRITER = """
import os, sys, time
from pathlib import Path
import numpy as np
from robostack.core.spec import Spec, Term
from robostack.core.types import EpisodeHeader, Step, Who
from robostack.store.episode import EpisodeWriter
os.fdatasync = lambda handle: time.sleep(0.5)
spec = Spec((Term("x", 3, "m", "base", (1.0,) * 3),), (Term("u", 2, "m", "tool", (1.0,) * 2),), 0.1)
writer = EpisodeWriter(Path(sys.argv[1]), spec, Path(sys.argv[2]))
writer.begin(EpisodeHeader(0, "practice", "", "", "", 0, spec.digest, ""), np.zeros(3))
for i in range(100000):
    step = Step(np.full(3, i), np.ones(2), np.ones(2), Who.POLICY, 0.0, False, False, 0, 0.1 * i, 0.0, 0.0)
    writer.append(step, np.full(3, i + 1))
    print(i + 1, flush=True)
    time.sleep(0.001)
"""


@pytest.fixture
def memory(tmp_path):
    """A folder in real shared memory where there is one."""
    base = spool.place(f"test-{os.getpid()}-{tmp_path.name}")
    if base is None:
        pytest.skip(f"{spool.MEMORY} is not there to write to")
    yield base
    for path in sorted(base.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    if base.exists():
        base.rmdir()


@given(pieces=st.lists(st.binary(min_size=1, max_size=50)))
def test_a_spooled_file_holds_what_was_written_in_order(tmp_path_factory, pieces):
    folder = tmp_path_factory.mktemp("spool")
    file = SpooledFile(folder / "file", folder / "memory")
    for piece in pieces:
        file.write(piece)
    file.sync()
    assert not pieces or (folder / "file").read_bytes() == b"".join(pieces)
    file.close()
    assert (folder / "file").read_bytes() == b"".join(pieces)
    assert not (folder / "memory").exists()


def test_writing_does_not_wait_for_the_disk(tmp_path, memory, monkeypatch):
    monkeypatch.setattr(os, "fdatasync", lambda handle: time.sleep(0.2))
    file, slowest = SpooledFile(tmp_path / "file", memory / "file"), 0.0
    begun = time.perf_counter()
    for _ in range(100):
        start = time.perf_counter()
        file.write(bytes(100_000))
        slowest = max(slowest, time.perf_counter() - start)
        time.sleep(0.002)
    assert slowest < 0.1 < time.perf_counter() - begun
    file.close()
    assert (tmp_path / "file").stat().st_size == 10_000_000


@pytest.mark.parametrize("after", [0.02, 0.11, 0.3])
def test_kill_9_loses_no_step_that_was_written_though_the_disk_is_slow(tmp_path, memory, after):
    words = [sys.executable, "-c", WRITER, str(tmp_path), str(memory)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    child.stdout.readline()
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    said = int(child.stdout.read().split("\n")[-2])
    child.wait()
    [path] = episode_paths(tmp_path)
    behind = path.stat().st_size
    assert spool.recover(tmp_path, memory) == [path.name]
    assert path.stat().st_size > behind, "nothing was waiting: the disk was not slow"
    found = recover(path)
    assert said <= len(found.episode.steps) <= said + 1
    np.testing.assert_array_equal(
        found.episode.observations[:, 0], np.arange(len(found.episode.steps) + 1)
    )
    assert spool.recover(tmp_path, memory) == [], "recovered twice"
    assert not memory.exists()


@given(
    st.lists(st.binary(min_size=1, max_size=30), min_size=1),
    st.integers(0, 2000),
    st.integers(0, 30),
)
def test_recovery_completes_a_file_wherever_the_kill_came(tmp_path_factory, pieces, on_disk, torn):
    """Any prefix on the disk, any pieces of it still waiting, the last one maybe torn."""
    folder = tmp_path_factory.mktemp("spool")
    memory, whole = folder / "memory", b"".join(pieces)
    target = folder / "file"
    target.write_bytes(whole[: (done := min(on_disk, len(whole)))])
    (memory / "file").mkdir(parents=True)
    offset = 0
    for piece in pieces:
        if offset + len(piece) > done or offset % 2:
            (memory / "file" / f"{offset:015d}").write_bytes(piece)
        offset += len(piece)
    (memory / "file" / f"{offset:015d}").write_bytes(b"torn"[: torn % 4])
    spool.recover(folder, memory)
    assert target.read_bytes() == whole + b"torn"[: torn % 4]
    assert not memory.exists()


def test_a_disk_that_refuses_is_told_with_the_next_step_and_nothing_is_lost(
    spec, tmp_path, memory, make_episode, monkeypatch
):
    def fail(handle):
        raise OSError(28, "No space left on device")

    episode = make_episode(length=50)
    writer, written = EpisodeWriter(tmp_path, spec, memory), 0
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(Unavailable, match=r"cannot record .*no space left on device; make room"):
        writer.begin(episode.header, episode.observations[0])
        for step, after in zip(episode.steps, episode.observations[1:], strict=True):
            writer.append(step, after)
            written += 1
            time.sleep(0.005)
    monkeypatch.undo()
    spool.recover(tmp_path, memory)
    assert written <= len(recover(episode_paths(tmp_path)[0]).episode.steps) <= written + 1


def test_a_disk_that_never_catches_up_is_refused_with_the_numbers(tmp_path, memory, monkeypatch):
    monkeypatch.setattr(spool, "MOST_BYTES", 1000)
    monkeypatch.setattr(os, "fdatasync", lambda _: time.sleep(0.3))
    file = SpooledFile(tmp_path / "file", memory / "file")
    with pytest.raises(Unavailable, match="MB behind, at most"):
        for _ in range(20):
            file.write(bytes(100))
    file.close()


def test_a_file_that_is_there_is_not_written_over(tmp_path, memory):
    (tmp_path / "file").write_bytes(b"old")
    file = SpooledFile(tmp_path / "file", memory / "file")
    with pytest.raises(FileExistsError):
        for _ in range(100):
            file.write(b"new")
            time.sleep(0.01)
    file.close()
    assert spool.recover(tmp_path, memory) == []
    assert (tmp_path / "file").read_bytes() == b"old"


def test_without_such_memory_steps_go_to_the_disk_directly(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "MEMORY", tmp_path / "none")
    assert spool.place("run") is None
    assert spool.recover(tmp_path, None) == []


def test_complete_episodes_do_not_differ_by_the_way_they_took(spec, tmp_path, memory, make_episode):
    files = []
    for name, waiting in (("plain", None), ("spooled", memory)):
        writer, episode = EpisodeWriter(tmp_path / name, spec, waiting), make_episode(length=20)
        writer.begin(episode.header, episode.observations[0])
        for step, after in zip(episode.steps, episode.observations[1:], strict=True):
            writer.append(step, after)
        writer.end()
        files.append(episode_paths(tmp_path / name)[0].read_bytes())
    assert files[0] == files[1]
    assert not memory.exists() or not list(memory.iterdir())


def test_recover_errors_are_the_callers_to_explain(tmp_path, memory):
    (memory / "file").mkdir(parents=True)
    (memory / "file" / "000000000000000").write_bytes(b"x")
    with pytest.raises((OSError, RobostackError)):
        spool.recover(tmp_path / "no" / "folder", memory)
    assert Path(memory / "file" / "000000000000000").exists(), "kept for the next attempt"
