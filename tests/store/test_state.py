"""Checkpoints come back to the last bit, damage is seen and stepped over, and training never waits for the disk."""

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import RobostackError, SpecMismatch, Unavailable
from robostack.store import state
from robostack.store.state import Checkpoint, Writer
from robostack.store.tensors import Damaged

floats = st.floats(allow_nan=False, allow_infinity=False)


def checkpoint(spec, step=20, score=None, **about) -> Checkpoint:
    arrays = {"w": np.full((3, 2), step, np.float32), "key:x": np.array([1, 2**32 - 1], np.uint32)}
    return Checkpoint(step, arrays, spec, about, score)


def taken(folder, spec) -> tuple[list[int], list[str]]:
    said: list[str] = []
    return [found.step for found in state.newest_first(folder, spec, said.append)], said


@given(owed=floats, extras=st.dictionaries(st.text(), floats | st.text() | st.booleans()))
def test_a_checkpoint_comes_back_to_the_last_bit(tmp_path_factory, spec, owed, extras):
    made = checkpoint(spec, 7, 0.1 + 0.2, owed=owed, extras=extras)
    found = state.load(state.save(tmp_path_factory.mktemp("state"), made), spec)
    assert (found.step, found.spec, found.about, found.score) == (7, spec, made.about, made.score)
    assert np.signbit(found.about["owed"]) == np.signbit(owed)
    for name, array in made.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].tobytes() == array.tobytes()


def test_the_same_state_makes_the_same_file(tmp_path, spec):
    first = state.save(tmp_path / "a", checkpoint(spec, extras={"x": 1}))
    second = state.save(tmp_path / "b", checkpoint(spec, extras={"x": 1}))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("harm", ["flipped", "cut", "empty", "garbage", "of another program"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(tmp_path, spec, harm):
    state.save(tmp_path, checkpoint(spec, 20))
    path = state.save(tmp_path, checkpoint(spec, 40))
    data = path.read_bytes()
    path.write_bytes(
        {
            "flipped": data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
            "cut": data[: len(data) // 2],
            "empty": b"",
            "garbage": b"x" * 500,
            "of another program": b"\x02\0\0\0\0\0\0\0{}",
        }[harm]
    )
    steps, said = taken(tmp_path, spec)
    assert steps == [20]
    (line,) = said
    assert f"{path} is damaged" in line and "the checkpoint before it is taken" in line
    assert "\n" not in line
    # Out of the way, not lost: who writes step 40 again finds the name free.
    assert not path.exists() and path.with_name(f"{path.name}.damaged").exists()
    assert taken(tmp_path, spec) == ([20], [])


def test_every_cut_and_every_flipped_byte_is_seen(tmp_path, spec):
    path = state.save(tmp_path, checkpoint(spec))
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        for bad in (data[:place], data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]):
            path.write_bytes(bad)
            with pytest.raises(Damaged):
                state.load(path)


def test_no_checkpoint_is_no_error(tmp_path, spec):
    assert taken(tmp_path / "state", spec) == ([], [])


def test_a_newer_format_is_refused_with_both_versions_and_left_alone(tmp_path, spec, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(state, "FORMAT", 2)
        path = state.save(tmp_path, checkpoint(spec))
    with pytest.raises(RobostackError, match="checkpoint format 2, this robostack reads 1"):
        taken(tmp_path, spec)
    assert path.exists()


def test_another_tasks_checkpoint_is_refused_with_the_difference(tmp_path, spec):
    state.save(tmp_path, checkpoint(spec))
    with pytest.raises(SpecMismatch, match=r"period: got 0\.1 s, expected 0\.2 s"):
        taken(tmp_path, replace(spec, period=0.2))


def test_the_newest_and_the_best_are_kept(tmp_path, spec):
    writer = Writer(tmp_path, keep=2)
    for step, score in ((1, None), (2, 0.5), (3, 0.9), (4, 0.9), (5, 0.2), (6, 0.3), (7, 0.1)):
        writer.save(checkpoint(spec, step, score))
        written(tmp_path, step)
    writer.close()
    assert state.steps(tmp_path) == [4, 6, 7]  # 4 is as good as 3 and has seen more
    assert state.best(tmp_path) == (4, 0.9)


def test_what_a_killed_writer_left_half_done_is_removed(tmp_path, spec):
    draft = tmp_path / ".000000020.safetensors.4711"
    draft.write_bytes(b"half")
    Writer(tmp_path, keep=2).close()
    assert not draft.exists()


def written(folder, step) -> None:
    deadline = time.monotonic() + 20
    while not state.path_of(folder, step).exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class SlowDisk:
    """Takes over `write_whole` where checkpoints are written: it waits to be told, or says no."""

    def __init__(self, monkeypatch):
        self.go, self._write = threading.Event(), state.write_whole
        self.error: Exception | None = None
        monkeypatch.setattr(state, "write_whole", self)

    def __call__(self, path, data):
        assert self.go.wait(20)
        if self.error:
            raise self.error
        self._write(path, data)


def test_a_disk_that_hangs_holds_nobody_up_and_only_the_newest_waits(tmp_path, spec, monkeypatch):
    disk, writer = SlowDisk(monkeypatch), Writer(tmp_path, keep=9)
    start = time.monotonic()
    writer.save(checkpoint(spec, 1))
    while writer._waiting is not None:  # the thread has taken it and hangs
        time.sleep(0.001)
    for step in range(2, 50):
        writer.save(checkpoint(spec, step))
    assert time.monotonic() - start < 5.0 and not state.steps(tmp_path)
    disk.go.set()
    writer.close()
    assert state.steps(tmp_path) == [1, 49]


def test_a_thread_that_died_is_loud_in_the_next_call(tmp_path, spec, monkeypatch):
    disk, writer = SlowDisk(monkeypatch), Writer(tmp_path, keep=2)
    disk.error = Unavailable("cannot write x: no space left on device; make room there")
    disk.go.set()
    writer.save(checkpoint(spec, 1))
    writer._thread.join(20)
    for call in (writer.check, lambda: writer.save(checkpoint(spec, 2)), writer.close):
        with pytest.raises(Unavailable, match="no space left"):
            call()


def test_handing_over_costs_a_small_part_of_what_writing_costs(tmp_path, spec):
    arrays = {f"w{i}": np.zeros((512, 512), np.float32) for i in range(40)}  # 42 MB
    start = time.perf_counter()
    state.save(tmp_path, Checkpoint(0, arrays, spec))
    writing = time.perf_counter() - start
    writer = Writer(tmp_path, keep=2)
    handing = []
    for step in range(1, 6):
        start = time.perf_counter()
        writer.save(Checkpoint(step, arrays, spec))
        handing.append(time.perf_counter() - start)
    writer.close()
    assert state.steps(tmp_path)[-1] == 5 and min(handing) < writing / 20


def test_about_must_be_json(tmp_path, spec):
    with pytest.raises(TypeError):
        state.save(tmp_path, checkpoint(spec, x=object()))
    assert json.loads(json.dumps({"x": 0.1})) == {"x": 0.1}
