"""A small spec and small networks: a learner that compiles and runs in seconds. JAX is strict about ranks here.

Not about dtypes: optax's Adam raises a float to an int32 count.
"""

import jax
import numpy as np
import pytest

from robostack.core.spec import Spec, Term
from robostack.core.types import Episode, EpisodeHeader, Step, Who
from robostack.learn.sac import Config

SMALL = Config(widths=(16, 16), batch=8)
N, M = 5, 2


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def spec() -> Spec:
    return Spec(
        (Term("x", N, "m", "base", (1.0,) * N),), (Term("u", M, "m", "tool", (1.0,) * M),), 0.1
    )


def make_episode(
    spec: Spec, index: int, kind: str, length: int, person=(), is_success=True
) -> Episode:
    """Frames that say which episode and step they are of: [index, step, …]."""
    rng = np.random.default_rng(index)
    frames = rng.normal(size=(length + 1, N)).astype(np.float32)
    frames[:, 0], frames[:, 1] = index, np.arange(length + 1)
    steps = tuple(
        Step(
            observation=frames[i],
            action_policy=np.zeros(M),
            action=rng.uniform(-1, 1, M),
            who=Who.PERSON if kind == "demonstration" or i in person else Who.POLICY,
            reward=float(is_success and i + 1 == length),
            terminated=is_success and i + 1 == length,
            truncated=not is_success and i + 1 == length,
            parameters=0,
            stamp=0.1 * i,
            age=0.0,
            lateness=0.0,
        )
        for i in range(length)
    )
    header = EpisodeHeader(index, kind, "r", "t", "mock", index, spec.digest, "0")
    return Episode(header, frames, steps)
