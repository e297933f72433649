"""The measure of an hour's soak, in seconds: it sees what grows, and only that. The hour is benchmarks/soak.py."""

import os
import threading

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


def test_memory_threads_and_descriptors_that_are_not_given_back_are_seen():
    watched, kept, over = Watched("this", os.getpid()), [], threading.Event()
    watched.look()
    for _ in range(10):
        kept.append(np.ones(4_000_000))
        kept.append(open("/dev/null"))  # noqa: SIM115
        threading.Thread(target=over.wait, daemon=True).start()
        watched.look()
    assert watched.memory[-1] - watched.memory[0] > 0.9 * 10 * 32e6
    assert watched.growth > 5.0 and watched.gained == 10
    over.set()
    for file in kept[1::2]:
        file.close()
