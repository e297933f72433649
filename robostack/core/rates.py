"""How sure a success rate is."""

from statistics import NormalDist

import numpy as np

from robostack.core.errors import BadValue

Z_95 = 1.959963984540054  # normal quantile of a two-sided 95 % interval


def wilson(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """95 % interval of a success rate. Wilson 1927; honest near 0 and 1, where the textbook one is not.

    Without trials nothing is known: (0, 1). Raises BadValue for counts that cannot be.
    """
    if not 0 <= successes <= trials:
        raise BadValue(
            f"{successes} successes of {trials} trials; expected 0 <= successes <= trials"
        )
    if trials == 0:
        return 0.0, 1.0
    rate, share = successes / trials, z * z / trials
    middle = (rate + share / 2) / (1 + share)
    half = z / (1 + share) * np.sqrt(rate * (1 - rate) / trials + share / (4 * trials))
    # At the ends the formula gives exactly 0 or 1, but for the last digit of floating point.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == trials else min(1.0, middle + half)
    return float(low), float(high)


def one_sided(confidence: float) -> float:
    """The z with which one end of `wilson` holds with this probability, such as 0.9."""
    return NormalDist().inv_cdf(confidence)
