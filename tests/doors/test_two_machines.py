"""A run whose learner is elsewhere, TLS and token between: two commands, the same run."""

import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from robostack.store import params
from robostack.store.episode import episode_paths
from robostack.store.link import keys
from tests.doors.test_runs import only, run, weights


@pytest.fixture
def learner(tmp_path):
    """`robostack link serve --learn` in a process of its own: its words for `train`."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    keys.make(tmp_path / "keys", ["127.0.0.1"])
    words = [sys.executable, "-m", "robostack", "link", "serve", str(tmp_path / "there")]
    words += ["--learn", "--listen", address, "--keys", str(tmp_path / "keys")]
    process = subprocess.Popen(words, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    yield ["--learner", address, "--keys", str(tmp_path / "keys")]
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


def test_run_with_a_learner_elsewhere_equals_the_run_on_one_machine(learner, tmp_path):
    here, said = run(tmp_path / "here", "plant=twin", flags=learner)
    assert "[courier] connected to the learner" in said
    there = only(tmp_path / "there")
    alone, _ = run(tmp_path / "alone", "plant=twin")
    sent = [path.read_bytes() for path in episode_paths(there.episodes)]
    assert sent == [path.read_bytes() for path in episode_paths(here.episodes)]
    for name, values in weights(alone).items():
        np.testing.assert_array_equal(weights(here)[name], values)
    assert not (here.path / "state").exists(), "a learner worked on the cell's machine"
    version = params.latest_version(there.params)
    assert version == params.latest_version(alone.params)


def test_learner_beyond_loopback_without_keys_is_refused_before_anything_is_made(tmp_path):
    words = [sys.executable, "-m", "robostack", "train", "--learner", "192.0.2.7:7447"]
    done = subprocess.run(
        [*words, "--runs", str(tmp_path / "runs")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "needs TLS and a token" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
