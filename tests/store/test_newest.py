"""Parameters that are read beside the loop: always the newest, and never a wait."""

import time

import numpy as np
import pytest

from robostack.core.errors import RobostackError
from robostack.store import params
from robostack.store.newest import Newest


def publish(folder, version, spec, size=4):
    params.save(folder, version, {"w": np.full(size, float(version), np.float32)}, spec)


def awaited(newest: Newest, seconds: float = 5.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := newest.take()) is not None:
            return found
        time.sleep(0.005)
    return None


@pytest.fixture
def newest(tmp_path, spec):
    made = Newest(tmp_path, spec, lambda found: (found.version, found.arrays["w"][0]), after=0)
    yield made
    made.close()


def test_each_newer_version_is_given_once(tmp_path, spec, newest):
    publish(tmp_path, 0, spec)
    assert awaited(newest, 0.2) is None, "not newer than what is there"
    for version in (1, 2):
        publish(tmp_path, version, spec)
        assert awaited(newest) == (version, float(version))
        assert newest.take() is None


def test_versions_that_were_overtaken_are_skipped(tmp_path, spec, newest):
    for version in range(1, 30):
        publish(tmp_path, version, spec)
    found = awaited(newest)
    while found and found[0] < 29:
        found = awaited(newest)
    assert found
    assert newest.take() is None


def test_take_never_waits_for_a_large_file(tmp_path, spec, newest):
    slowest, found = 0.0, None
    for version in range(1, 6):
        publish(tmp_path, version, spec, size=3_000_000)
        until = time.monotonic() + 0.15
        while time.monotonic() < until:
            start = time.perf_counter()
            found = newest.take() or found
            slowest = max(slowest, time.perf_counter() - start)
            time.sleep(0.001)
    assert found is not None
    start = time.perf_counter()
    params.load(params.path_of(tmp_path, 5), spec)
    assert slowest < 0.5 * (time.perf_counter() - start)


def test_a_damaged_version_is_raised_where_it_is_taken(tmp_path, spec, newest):
    (tmp_path / "000001.safetensors").write_bytes(b"nothing")
    deadline = time.monotonic() + 5.0
    with pytest.raises(RobostackError, match="000001.safetensors is damaged"):
        while time.monotonic() < deadline:
            newest.take()
            time.sleep(0.005)
