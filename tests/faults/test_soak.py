"""The measure of an hour's soak, in seconds: it sees what grows, and only that. The hour is benchmarks/soak.py."""

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.soak import Watched, growth


@pytest.mark.parametrize("percent", [0.0, 0.5, 5.0, -2.0])
def test_growth_is_what_was_added_from_first_to_last_whatever_the_outliers(percent):
    rng = np.random.default_rng(0)
    values = 1e8 * (1.0 + np.linspace(-0.5, 0.5, 361) * percent / 100)
    values += rng.normal(0.0, 1e4, 361)
    values[rng.integers(361, size=20)] *= 1.5
    assert growth(values.tolist()) == pytest.approx(percent, abs=0.05)


GROWING = """
import sys, threading
kept, over = [], threading.Event()
for line in sys.stdin:
    kept += [bytearray(b"x" * 32_000_000), open("/dev/null")]
    threading.Thread(target=over.wait, daemon=True).start()
    print(flush=True)
"""


def test_memory_threads_and_descriptors_that_are_not_given_back_are_seen():
    """In a process of its own: this one's memory is moved by the tests before."""
    pipe, command = subprocess.PIPE, [sys.executable, "-c", GROWING]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin and process.stdout
        watched = Watched("child", process.pid)
        for _ in range(11):
            print(file=process.stdin, flush=True)
            process.stdout.readline()
            watched.look()
        process.stdin.close()
    assert watched.memory[-1] - watched.memory[0] > 0.9 * 10 * 32e6
    assert watched.growth > 5.0 and watched.gained == 10
