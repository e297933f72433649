"""A small spec and small networks: a learner that compiles and runs in seconds. JAX is strict about ranks here.

Not about dtypes: optax's Adam raises a float to an int32 count.
"""

from dataclasses import replace

import jax
import numpy as np
import pytest

from robostack.core.spec import Spec, Term, View
from robostack.core.types import Episode, EpisodeHeader, Step, Who
from robostack.learn.config import NO_TRUNK, Config

SMALL = Config(widths=(16, 16), batch=8, trunk=NO_TRUNK, eye_width=8)
N, M = 5, 2


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"):
        yield


PLAIN = Spec(
    (Term("x", N, "m", "base", (1.0,) * N),), (Term("u", M, "m", "tool", (1.0,) * M),), 0.1
)
ARM = (Term("u", M - 1, "m", "tool", (1.0,) * (M - 1)),)
SPECS = {
    "numbers": PLAIN,
    "gripper": replace(PLAIN, action=(*ARM, Term("gripper", 1, "-1 .. 1", "", (1.0,)))),
    "cameras": replace(PLAIN, views=(View("front", 16, 16), View("wrist", 16, 32))),
}


@pytest.fixture
def spec() -> Spec:
    return PLAIN


@pytest.fixture(params=["numbers", "gripper", pytest.param("cameras", marks=pytest.mark.slow)])
def any_spec(request) -> Spec:
    """What a policy may see and do, one kind after another."""
    return SPECS[request.param]


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
    pictures = {
        view.name: rng.integers(0, 256, (length + 1, view.height, view.width, 3), np.uint8)
        for view in spec.views
    }
    return Episode(header, frames, steps, pictures)
