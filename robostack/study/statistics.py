"""Numbers over many episodes."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from robostack.core.errors import BadValue
from robostack.core.rates import Z_95, wilson

__all__ = ["Z_95", "rolling_mean", "wilson"]


def rolling_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last `window` values at each place; of fewer at the start. (n,)"""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, float))])
    stop = np.arange(1, len(total))
    start = np.maximum(0, stop - window)
    return (total[stop] - total[start]) / (stop - start)


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a success rate that covers it at least as often as it says. Clopper, Pearson 1934.

    Wider than Wilson's, which covers it so often on average only; for rates that a person is to rely on. Without
    trials nothing is known: (0, 1). Raises BadValue for counts that cannot be.
    """
    if not 0 <= successes <= trials:
        raise BadValue(
            f"{successes} successes of {trials} trials; expected 0 <= successes <= trials"
        )
    tail, failures = (1.0 - confidence) / 2, trials - successes
    low = special.betaincinv(successes, failures + 1, tail) if successes else 0.0
    high = special.betaincinv(successes + 1, failures, 1.0 - tail) if failures else 1.0
    return float(low), float(high)


def iqm(values: ArrayLike) -> float:
    """Mean of the middle half of the values: ends count in part where the half cuts through one.

    Agarwal et al. 2021 (arXiv 2108.13264), who drop whole values; for few seeds that is coarse.
    """
    ordered = np.sort(np.asarray(values, float).ravel())
    edges = np.linspace(0.0, 1.0, len(ordered) + 1)
    weights = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0.0, None)
    return float(ordered @ weights / weights.sum())


def bootstrap(
    groups: Sequence[ArrayLike],
    statistic: Callable[[np.ndarray], float] = iqm,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of a statistic of all groups' values together, by drawing anew within each group (task).

    With one value a group there is nothing to draw from: the interval is then a point, and says nothing.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = [rng.choice(np.asarray(group, float), np.size(group)) for group in groups]
        found.append(statistic(np.concatenate(drawn)))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)
