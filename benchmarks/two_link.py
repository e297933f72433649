"""A cell for learning claims that costs no time: two links of 10 cm in a plane, sparse reward, in numpy, many at once.

The tip has to come within 15 mm of a point, slowly. Each joint is a damped double integrator (what a motor with a
gear does), the observation is scaled as in a Spec. An episode is 50 steps of 50 ms. `Changed` are the ways in which
another cell differs from this one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import jax
import numpy as np

from robostack.core.guide import Starter
from robostack.core.interact import Seen
from robostack.core.mask import OPEN, Masker
from robostack.core.spec import Spec, Term
from robostack.core.types import Episode, EpisodeHeader, Step, Who
from robostack.learn.config import Config
from robostack.learn.learner import Learner
from robostack.learn.nets import NUMBERS

LINK = 0.1  # m, each of two
STEPS, PERIOD, PARTS = 50, 0.05, 5  # of an episode; s; integration steps of a period
NEAR, SLOW = 0.015, 3.0  # m, rad/s: success
SPEC = Spec(
    (Term("arm", 10, "1, rad/s, m", "base", (1.0,) * 4 + (10.0,) * 2 + (0.1,) * 4),),
    (Term("torque", 2, "1", "joints", (1.0, 1.0)),),
    PERIOD,
)
CONFIG = Config(widths=(64, 64), batch=128, critic_updates=1, imitation=0.0, discount=0.98)
Act = Callable[[np.ndarray], np.ndarray]  # observations (B, 10) to actions (B, 2)


@dataclass(frozen=True)
class Changed:
    """What an arm is like; the defaults are the mirror's."""

    gear: float = 60.0  # rad/s^2 at full action
    damping: float = 2.0  # 1/s
    delay: int = 0  # control steps from an action to its effect
    offset: tuple[float, float] = (0.0, 0.0)  # m, of where the point is seen from where it is


@dataclass
class Arms:
    """Owns the state of as many arms as there are seeds: same seed, same start and point."""

    seeds: np.ndarray
    cell: Changed = field(default_factory=Changed)

    def __post_init__(self):
        draws = np.array([np.random.default_rng(int(seed)).random(4) for seed in self.seeds])
        self.q = (2 * draws[:, :2] - 1) * np.pi
        self.dq = np.zeros_like(self.q)
        radius, angle = 0.06 + 0.12 * np.sqrt(draws[:, 2]), 2 * np.pi * draws[:, 3]
        self.goal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
        self._waiting = [np.zeros_like(self.q) for _ in range(self.cell.delay)]

    @property
    def tip(self) -> np.ndarray:
        """(B, 2) m."""
        first, second = self.q[:, 0], self.q.sum(-1)
        return LINK * np.stack([np.cos(first) + np.cos(second), np.sin(first) + np.sin(second)], -1)

    def observe(self) -> np.ndarray:
        """(B, 10) float32."""
        tip = self.tip
        far = self.goal + self.cell.offset - tip
        parts = [np.cos(self.q), np.sin(self.q), 0.1 * self.dq, 10 * tip, 10 * far]
        return np.concatenate(parts, -1).astype(np.float32)

    def step(self, action: np.ndarray) -> np.ndarray:
        """(B,) whether each is there now, after a period with actions (B, 2)."""
        self._waiting.append(np.clip(action, -1.0, 1.0))
        torque = self.cell.gear * self._waiting.pop(0)
        for _ in range(PARTS):  # semi-implicit Euler
            self.dq = self.dq + PERIOD / PARTS * (torque - self.cell.damping * self.dq)
            self.q = self.q + PERIOD / PARTS * self.dq
        is_near = np.linalg.norm(self.goal - self.tip, axis=-1) < NEAR
        return is_near & (np.linalg.norm(self.dq, axis=-1) < SLOW)


def script(observation: np.ndarray) -> np.ndarray:
    """What a person would program: a spring from tip to point through the Jacobian's transpose, damped. (B, 2)"""
    cos, sin = observation[:, :2], observation[:, 2:4]
    both_cos = cos[:, 0] * cos[:, 1] - sin[:, 0] * sin[:, 1]
    both_sin = sin[:, 0] * cos[:, 1] + cos[:, 0] * sin[:, 1]
    far = observation[:, 8:10] / 10
    # Columns of the Jacobian, per metre.
    second = LINK * np.stack([-both_sin, both_cos], -1)
    first = second + LINK * np.stack([-sin[:, 0], cos[:, 0]], -1)
    pull = np.stack([(first * far).sum(-1), (second * far).sum(-1)], -1)
    return np.clip(100.0 * pull - 1.5 * observation[:, 4:6], -1.0, 1.0)


def success(act: Act, seeds: np.ndarray, cell: Changed | None = None) -> float:
    """Part of these episodes that succeeds."""
    arms, done = Arms(seeds, cell or Changed()), np.zeros(len(seeds), bool)
    for _ in range(STEPS):
        done |= arms.step(act(arms.observe()))
    return float(done.mean())


def play(
    act: Act,
    kind: str,
    index: int,
    seed: int,
    cell: Changed,
    guide: Starter | None = None,
    mask: Masker | None = None,
    width: float = OPEN,
) -> Episode:
    """One episode, as the loop makes them; `width` is that of the mask."""
    arms = Arms(np.array([seed]), cell)
    if guide:
        guide.begin(kind, seed)
    if mask:
        mask.begin(kind)
    observations, steps = [arms.observe()[0]], []
    for tick in range(STEPS):
        now = observations[-1]
        seen = Seen({}, {}, now)
        led = guide.act(seen) if guide else None
        action = act(now[None])[0] if led is None else led
        around = mask.guide(seen) if mask else None
        action = mask.action(action, around, width) if mask else action
        is_done = bool(arms.step(action[None])[0])
        is_last = tick + 1 == STEPS
        who = Who.POLICY if led is None else Who.GUIDE
        who = Who.PERSON if kind == "demonstration" else who
        steps.append(
            Step(now, action, action, who, float(is_done), is_done, is_last and not is_done, 0, tick * PERIOD, 0.0, 0.0,
                guide=around)
        )  # fmt: skip
        observations.append(arms.observe()[0])
        if is_done:
            break
    header = EpisodeHeader(index, kind, "two_link", "reach", "mock", seed, SPEC.digest, "0")
    episode = Episode(header, np.stack(observations), tuple(steps))
    if guide:
        guide.end(kind, episode.is_success, 0, len(steps))
    return episode


@partial(jax.jit, static_argnums=0)
def _act(network, weights, observation, key):
    one = partial(network.act, SPEC, weights)
    if key is None:
        return jax.vmap(lambda o: one({NUMBERS: o}, None))(observation)
    keys = jax.random.split(key, len(observation))
    return jax.vmap(lambda o, k: one({NUMBERS: o}, k))(observation, keys)


def policy(learner: Learner, weights: dict, seed: int | None = None) -> Act:
    """Acts with these weights; with a seed it explores."""
    keys = None if seed is None else np.random.default_rng(seed)

    def act(observation: np.ndarray) -> np.ndarray:
        key = None if keys is None else jax.random.key(keys.integers(2**31))
        return np.asarray(_act(learner.algorithm.network, weights, observation, key), float)

    return act


def noisy(act: Act, deviation: float, seed: int) -> Act:
    """The same with noise on its actions."""
    rng = np.random.default_rng(seed)

    def with_noise(observation: np.ndarray) -> np.ndarray:
        action = act(observation)
        return np.clip(action + rng.normal(0.0, deviation, action.shape), -1.0, 1.0)

    return with_noise


def interquartile(values: np.ndarray) -> float:
    """Interquartile mean: of the middle half."""
    ordered, cut = np.sort(np.ravel(values)), len(np.ravel(values)) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def bootstrap(values: np.ndarray, count: int = 2000) -> tuple[float, float]:
    """95 % interval of the interquartile mean over seeds."""
    rng, values = np.random.default_rng(0), np.ravel(values)
    drawn = rng.choice(values, (count, len(values)))
    means = [interquartile(row) for row in drawn]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
