"""The guard's arithmetic for a batch; its properties are tested through the guard."""

import numpy as np

from robostack.core import lie
from robostack.core.limits import limit_motion


def test_a_batch_gives_what_its_members_give(robot):
    rng = np.random.default_rng(0)
    start = lie.pose(rng.uniform([0.1, -0.5, 0.0], [0.9, 0.5, 0.7], (200, 3)), [1.0, 0.0, 0.0, 0.0])
    velocity = rng.normal(0.0, [0.1] * 3 + [0.3] * 3, (200, 6))
    size = 10.0 ** rng.uniform(-4, 0, (200, 1))
    wanted = lie.compose(start, lie.exp(size * rng.normal(size=(200, 6))))
    batch = limit_motion(robot.safety, start, velocity, wanted, 0.1)
    for i in range(200):
        one = limit_motion(robot.safety, start[i], velocity[i], wanted[i], 0.1)
        np.testing.assert_allclose(batch.reference[i], one.reference, atol=1e-15)
        np.testing.assert_allclose(batch.velocity[i], one.velocity, atol=1e-13)
        for name, is_changed in one.changed.items():
            assert batch.changed[name][i] == is_changed
    for name in ("acceleration", "angular speed", "workspace"):  # all of it was tried
        assert 0 < batch.changed[name].sum() < 200


def test_members_within_the_limits_pass_bit_for_bit_beside_others(robot):
    rng = np.random.default_rng(0)
    start = lie.compose(
        lie.pose([0.5, 0.0, 0.3], [1.0, 0, 0, 0]), lie.exp(rng.normal(0, 0.03, (50, 6)))
    )
    wanted = lie.compose(start, lie.exp(rng.uniform(-0.01, 0.01, (50, 6))))
    wanted[-1, :3] += 1.0
    batch = limit_motion(robot.safety, start, np.zeros((50, 6)), wanted, 0.1)
    assert batch.reference[:-1].tobytes() == wanted[:-1].tobytes()
    assert batch.changed["acceleration"].tolist() == [False] * 49 + [True]
    assert (batch.reference[-1] != wanted[-1]).any()
