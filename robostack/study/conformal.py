"""Thresholds that keep a promise in finite samples: split conformal prediction.

A score is high where something is odd: a classifier's for a picture of failure, a critic's doubt. The threshold from n
calibration scores is passed by the next one with a probability of at most alpha, whatever the scores' distribution is,
if the n + 1 are exchangeable. Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, section 2.2; in this
form Lei et al., arXiv 1604.04173, section 2.2.

Where the question is asked every step and answered once per episode, exchangeable are episodes, not steps. So the
scores are the highest of each episode: calibrated on steps, 5 % a step became an alarm in 58 % of good episodes of 100.
"""

import math

import numpy as np
from scipy import special

from robostack.core.errors import BadValue, require


def least(alpha: float) -> int:
    """How many scores a finite threshold for `alpha` needs: 9 for 0.1, 19 for 0.05. Raises BadValue."""
    _require_share(alpha)
    return math.ceil(_clean(1.0 / alpha)) - 1


def threshold(scores: np.ndarray, alpha: float) -> float:
    """The k-th smallest of the (n,) scores, k = ceil((n + 1)(1 - alpha)): P(the next one is above) <= alpha.

    Infinite where there are fewer than `least(alpha)`. Without ties P > alpha - 1 / (n + 1) too. Raises BadValue.
    """
    _require_share(alpha)
    scores = np.asarray(scores, float)
    if np.isnan(scores).any():
        raise BadValue(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN")
    rank = math.ceil(_clean((len(scores) + 1) * (1.0 - alpha)))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def p_value(scores: np.ndarray, score: float) -> float:
    """P(one so high or higher) for a score beside the (n,) others: (1 + those at least as high) / (n + 1).

    At most alpha with a probability of at most alpha, under the same condition.
    """
    scores = np.asarray(scores, float)
    return float((1 + np.count_nonzero(scores >= score)) / (len(scores) + 1))


def true_rate(count: int, alpha: float, confidence: float = 0.95) -> tuple[float, float]:
    """Where the rate of one threshold lies with this confidence: alpha is its mean over sets of `count` scores.

    For scores without ties the rate of scores above the k-th smallest of n is Beta(n + 1 - k, k). Vovk, arXiv
    1209.2673, section 2. Raises BadValue where there are fewer than `least(alpha)`.
    """
    require(count >= least(alpha), "count", count, f"at least {least(alpha)} for alpha {alpha}")
    rank = math.ceil(_clean((count + 1) * (1.0 - alpha)))
    tail = (1.0 - confidence) / 2
    low, high = (special.betaincinv(count + 1 - rank, rank, p) for p in (tail, 1.0 - tail))
    return float(low), float(high)


def highest(scores: np.ndarray, episode: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the episodes (E,), ascending, and the highest score of each; of (N,) scores and whose they are."""
    names, place = np.unique(episode, return_inverse=True)
    found = np.full(len(names), -np.inf)
    np.maximum.at(found, place, scores)
    return names, found


def _require_share(alpha: float) -> None:
    require(0.0 < alpha < 1.0, "alpha", alpha, "between 0 and 1")


def _clean(value: float) -> float:
    """Without the last digits: 20 (1 - 0.05) is a little more than 19 in floating point, and would be rounded up."""
    return round(value, 9)
