"""Several accelerators make the same updates as one; here they are parts of one CPU, in a process of their own."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import jax, numpy as np
from robostack.learn.learner import Learner
from tests.learn.conftest import SMALL, SPECS, make_episode

def trained(spec):
    learner = Learner(spec, SMALL, 0, 200)
    for index, kind in enumerate(("demonstration", "practice")):
        learner.add([make_episode(spec, index, kind, 20)])
    info = learner.train(3)
    return learner, info

spec = SPECS[sys.argv[1]]
several, told = trained(spec)
assert len(jax.devices()) == 4 and several._mesh.size == 4
rows = several._device.memory.frames
assert len(rows.sharding.device_set) == 4, "the memory is on every device"
jax.devices = lambda: jax.local_devices()[:1]
one, expected = trained(spec)
assert one._mesh is None
pairs = zip(jax.tree.leaves(several.acting), jax.tree.leaves(one.acting), strict=True)
assert all(np.allclose(a, b, atol=1e-5) for a, b in pairs)
assert abs(told["critic_loss"] - expected["critic_loss"]) < 1e-5
several.restore(several.arrays(), 3, "it")
several.train(1)
"""


@pytest.mark.parametrize("sees", ["gripper", pytest.param("cameras", marks=pytest.mark.slow)])
def test_four_devices_end_where_one_does(sees):
    environ = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = [sys.executable, "-c", PROGRAM, sees]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-2000:]
